"""svcd.Client: results, streams and errors as they are inside the app."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import svcd
from http_app import printed
from running import wait_until

if TYPE_CHECKING:
    from running import RunningApp


def test_values_come_back_as_they_are(client: svcd.Client) -> None:
    assert client.add(a=1) == 2
    assert client.call("upper", text="grüße") == "GRÜSSE"
    assert client.first(files=[b"ab", b"cd"], n=1) == b"ac"
    assert client.pack(box={"width": 1, "label": None}) == {"width": 1, "label": None}


def test_arrays_stay_arrays(client: svcd.Client) -> None:
    doubled = client.double(x=np.arange(6, dtype=np.float32).reshape(2, 3))
    assert doubled.dtype == np.float32
    assert doubled.tolist() == [[0, 2, 4], [6, 8, 10]]
    big = np.random.default_rng(1).random(500_000)
    assert (client.double(x=big) == 2 * big).all()


def test_streams_are_iterators(client: svcd.Client) -> None:
    assert list(client.tokens(prompt="a", n=3)) == ["a0 ", "a1 ", "a2 "]
    assert list(client.tokens(prompt="a", n=0)) == []
    with client.rows(n=2) as rows:
        assert [row["width"] for row in rows] == [0, 1]


def test_an_error_after_some_items_comes_after_them(client: svcd.Client) -> None:
    items = client.fail_after(n=3)
    assert [next(items)["array"].tolist() for _ in range(3)] == [[], [0], [0, 1]]
    with pytest.raises(svcd.RemoteError, match="svcd logs ingress") as caught:
        next(items)
    assert caught.value.type_name.startswith("error ")
    assert "secret" not in str(caught.value)


def test_a_stream_that_is_left_is_cancelled(app: RunningApp, client: svcd.Client) -> None:
    before = printed(app).count("forever has ended")
    items = client.forever()
    assert [next(items), next(items)] == [0, 1]
    items.close()
    wait_until(lambda: printed(app).count("forever has ended") > before, "the api to be cancelled")
    for item in client.forever():
        assert item == 0
        break
    wait_until(lambda: printed(app).count("forever has ended") > before + 1, "the second one")


def test_errors_are_the_same_classes(app: RunningApp, client: svcd.Client) -> None:
    with pytest.raises(svcd.InvalidArgument) as invalid:
        client.add(b=1, c=2)
    assert [detail["field"] for detail in invalid.value.details] == ["a", "c"]
    with pytest.raises(svcd.UnknownApi, match="/add"):
        client.ad(a=1)
    with pytest.raises(svcd.RemoteError) as remote:
        client.fail()
    line = f"{remote.value.type_name}: 500 remote: POST /fail"
    wait_until(lambda: line in app.log("ingress"), "the error in the log")
    with pytest.raises(svcd.EncodeError, match=r"a set cannot travel"):
        client.echo(value={1, 2})


def all_are_done(said: str) -> bool:
    return said.count("words wait") == said.count("words are done")


def test_a_timeout_cancels_the_call(app: RunningApp, client: svcd.Client) -> None:
    before = printed(app).count("words wait")

    def got_there() -> bool:
        with pytest.raises(svcd.DeadlineExceeded, match=r"no answer within 0\.3 s; the call is cancelled"):
            client.within(0.3).wait(seconds=60.0)
        return printed(app).count("words wait") > before

    wait_until(got_there, "a call to get to Words in that time")
    wait_until(lambda: all_are_done(printed(app)), "every call to be cancelled")


def test_threads_share_a_client_and_its_connections(client: svcd.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda number: client.add(a=number), range(200))) == [n + 1 for n in range(200)]


def test_nobody_there_is_unavailable() -> None:
    with svcd.Client("http://127.0.0.1:9", retries=1) as client, pytest.raises(svcd.ServiceUnavailable):
        client.add(a=1)
    refused = pytest.raises(svcd.ServiceUnavailable, match=r"cannot connect to unix:/nowhere/http\.sock")
    with svcd.Client("unix:/nowhere/http.sock", retries=0) as client, refused:
        client.add(a=1)


@pytest.mark.parametrize("address", ["", "127.0.0.1:3000", "unix:relative", "a b", "ftp://x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"http://127\.0\.0\.1:3000|write it as"):
        svcd.Client(address)


def test_a_client_outlives_the_ingress(app: RunningApp, address: str) -> None:
    with svcd.Client(address, retries=0) as client:
        assert client.add(a=1) == 2
        pid = app.row("ingress")["pid"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: app.row("ingress")["pid"] not in (pid, None), "another ingress")
        wait_until(lambda: app.row("ingress")["state"] == "ready", "the other ingress to be ready")
        assert client.add(a=2) == 3  # the connection that it had kept is known to be gone
