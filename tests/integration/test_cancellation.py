"""A call that nobody waits for any more ends at all of its three hops, and each has what is left of the deadline."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from running import PATIENCE, SVCD, wait_until

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

CHAIN = """
    from collections.abc import AsyncIterator
    from contextlib import contextmanager
    from pathlib import Path

    import svcd
    import trio

    @contextmanager
    def noting(name):
        # A file for its beginning, one for how it ended.
        note = Path(__file__).parent / name
        note.with_suffix(".begun").touch()
        try:
            yield
        except BaseException as error:
            note.with_suffix("." + type(error).__name__).touch()
            raise
        note.with_suffix(".done").touch()

    @svcd.service
    class Deep:
        @svcd.api
        async def wait(self) -> str:
            with noting("deep"):
                await trio.sleep_forever()

        @svcd.api
        async def left(self) -> list[float]:
            return [svcd.current_call().remaining()]

        @svcd.api
        async def count(self) -> AsyncIterator[int]:
            with noting("deep"):
                for number in range(1_000_000):
                    yield number
                    await trio.sleep(0.01)

    @svcd.service
    class Middle:
        deep = svcd.depends(Deep)

        @svcd.api
        async def wait(self) -> str:
            with noting("middle"):
                return await self.deep.wait()

        @svcd.api
        async def left(self) -> list[float]:
            return [svcd.current_call().remaining(), *await self.deep.left()]

        @svcd.api
        async def count(self) -> AsyncIterator[int]:
            with noting("middle"):
                async for number in self.deep.count():
                    yield number

    @svcd.service
    class Blocking:
        deep = svcd.depends(Deep)

        @svcd.api
        def wait(self) -> str:
            with noting("middle"):
                return self.deep.to_sync.wait()

        @svcd.api
        def left(self) -> list[float]:
            return [svcd.current_call().remaining(), *self.deep.to_sync.left()]

    @svcd.service
    class Entry:
        middle = svcd.depends(Middle)
        blocking = svcd.depends(Blocking)

        @svcd.api
        async def wait(self, over: str) -> str:
            with noting("entry"):
                return await getattr(self, over).to_async.wait()

        @svcd.api
        async def left(self, over: str) -> list[float]:
            return [svcd.current_call().remaining(), *await getattr(self, over).to_async.left()]

        @svcd.api
        async def count(self) -> AsyncIterator[int]:
            with noting("entry"):
                async for number in self.middle.count():
                    yield number
"""
HOPS = ("entry", "middle", "deep")
OVERS = ["middle", "blocking"]


@pytest.fixture(scope="module")
def chain(share_app: MakeApp) -> RunningApp:
    return share_app(CHAIN, "[services.Entry]\ntraffic = { timeout = 30 }\n", entry="Entry").up()


@pytest.fixture(scope="module")
def hurried_chain(share_app: MakeApp) -> RunningApp:
    return share_app(CHAIN, "[services.Entry]\ntraffic = { timeout = 0.5 }\n", entry="Entry").up()


@pytest.fixture
def app(chain: RunningApp) -> RunningApp:
    return rested(chain)


def rested(app: RunningApp) -> RunningApp:
    """Return the app as if nothing had been asked of it yet."""
    wait_until(lambda: {(row["in_flight"], row["queued"]) for row in app.rows()} == {(0, 0)}, "all to be at rest")
    for note in (note for hop in HOPS for note in app.folder.glob(f"{hop}.*")):
        note.unlink()
    return app


def ask(app: RunningApp, api: str, **args: Any) -> socket.socket:
    """Send a request and return the connection, without reading the answer."""
    address = urlsplit(app.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=PATIENCE)
    body = json.dumps(args).encode()
    head = f"POST /{api} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def begun(app: RunningApp) -> None:
    """Wait until the call is at the third hop."""
    wait_until((app.folder / "deep.begun").exists, "the third hop")


def assert_cancelled(app: RunningApp, *, middle: str = "Cancelled", hops: tuple[str, ...] = HOPS) -> None:
    """Every hop was told, and nothing of the call is left in any replica."""
    for hop in hops:
        kind = middle if hop == "middle" else "Cancelled"
        wait_until((app.folder / f"{hop}.{kind}").exists, f"{hop} to be cancelled")
    wait_until(lambda: {(row["in_flight"], row["queued"]) for row in app.rows()} == {(0, 0)}, "all slots to be free")
    assert not list(app.folder.glob("*.done"))


@pytest.mark.parametrize("over", OVERS)
def test_a_client_that_disconnects_cancels_the_whole_tree(app: RunningApp, over: str) -> None:
    with ask(app, "wait", over=over):
        begun(app)
    assert_cancelled(app, middle="Cancelled" if over == "middle" else "CallCancelled")
    # The blocking hop has one thread, and that is free again.
    assert app.post("left", {"over": over})[0] == 200


def test_a_client_that_disconnects_amid_a_stream_cancels_the_whole_tree(app: RunningApp) -> None:
    with ask(app, "count") as connection:
        begun(app)
        assert connection.recv(100).startswith(b"HTTP/1.1 200")
    assert_cancelled(app)


@pytest.mark.parametrize("over", OVERS)
def test_svcd_call_that_is_interrupted_cancels_the_whole_tree(app: RunningApp, over: str) -> None:
    command = [*SVCD, "call", *app.options, "Entry.wait", json.dumps({"over": over})]
    with subprocess.Popen(command, env=app.env, cwd=app.base, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as call:
        begun(app)
        call.send_signal(signal.SIGINT)
        call.wait(PATIENCE)
    assert_cancelled(app, middle="Cancelled" if over == "middle" else "CallCancelled")


def test_a_hop_that_is_killed_cancels_what_is_below_it(app: RunningApp) -> None:
    with ask(app, "wait", over="middle") as connection:
        begun(app)
        os.kill(app.row("Middle")["pid"], signal.SIGKILL)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        error = json.loads(answer.read())["error"]
    assert (answer.status, error["code"]) == (502, "lost")
    assert "Middle/0" in error["message"]
    wait_until((app.folder / "deep.Cancelled").exists, "the third hop to be cancelled")
    assert (app.folder / "entry.ReplicaLost").exists()


@pytest.mark.parametrize("over", OVERS)
def test_each_hop_has_what_is_left_of_the_deadline(app: RunningApp, over: str) -> None:
    status, left = app.post("left", {"over": over})
    assert status == 200
    entry, middle, deep = left
    assert 0 < deep < middle < entry < 30


@pytest.mark.parametrize("over", OVERS)
def test_past_the_deadline_everything_below_is_stopped(hurried_chain: RunningApp, over: str) -> None:
    app = rested(hurried_chain)

    def got_there() -> bool:
        rested(app)
        status, answer = app.post("wait", {"over": over})
        assert (status, answer["error"]["code"]) == (504, "deadline")
        return (app.folder / "deep.begun").exists()

    wait_until(got_there, "a call to get to the third hop within its deadline")
    assert_ended(app)


def assert_ended(app: RunningApp) -> None:
    """Each hop ended, whether it was told by its caller or by its own clock, and none with a result."""
    for hop in HOPS:
        wait_until(lambda hop=hop: set(app.folder.glob(f"{hop}.*")) - set(app.folder.glob("*.begun")), f"{hop} to end")
    wait_until(lambda: {(row["in_flight"], row["queued"]) for row in app.rows()} == {(0, 0)}, "all slots to be free")
    assert not list(app.folder.glob("*.done"))
