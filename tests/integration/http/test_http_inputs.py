"""Bodies that are streams: items as they come, no faster than they are taken, and ended from either side."""

from __future__ import annotations

import json
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

import h11
import httpx
import msgpack
import pytest

from http_app import printed
from running import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import RunningApp

NDJSON = {"content-type": "application/x-ndjson"}
PACKED = {"content-type": "application/msgpack-seq"}
LARGE = 48 * 1024 * 1024
"""Bytes; more than `max_body`, and than the buffers between client and api can hold."""


@pytest.fixture
def client(odd: RunningApp) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=odd.url, timeout=PATIENCE, trust_env=False) as client:
        yield client


class Slowly:
    """A request whose body is sent by hand."""

    def __init__(self, app: RunningApp, target: str, content_type: str) -> None:
        address = urlsplit(app.url)
        self.socket = socket.create_connection((address.hostname, address.port), PATIENCE)
        self._http = h11.Connection(h11.CLIENT)
        head = [("host", "a"), ("content-type", content_type), ("transfer-encoding", "chunked")]
        self._send(h11.Request(method="POST", target=target, headers=head))

    def _send(self, event: Any) -> None:
        self.socket.sendall(self._http.send(event) or b"")

    def send(self, data: bytes) -> None:
        self._send(h11.Data(data=data))

    def end(self) -> None:
        self._send(h11.EndOfMessage())

    def reset(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()

    def next(self) -> Any:
        """The next event that is not merely more of the same."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(self.socket.recv(65536))
        return event

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


CUTS = [b"1\n2.5\n\n 3 \r\n4", b"1\n2", b".5\n3\n4\n"]


@pytest.mark.parametrize("pieces", [[CUTS[0]], CUTS[1:], [bytes([byte]) for byte in CUTS[0]]])
def test_lines_of_json_are_items_wherever_they_are_cut(client: httpx.Client, pieces: list[bytes]) -> None:
    answer = client.post("/total", content=iter(pieces), headers=NDJSON)
    assert (answer.status_code, answer.text) == (200, "10.5")


def test_msgpack_values_are_items(client: httpx.Client) -> None:
    body = b"".join(map(msgpack.packb, [1, 2.5, 3]))
    for pieces in ([body], [body[:5], body[5:]], [body[at : at + 1] for at in range(len(body))]):
        assert client.post("/total", content=iter(pieces), headers=PACKED).text == "6.5"
    assert client.post("/total", content=iter([]), headers=PACKED).text == "0.0"


def test_other_arguments_are_in_the_query(client: httpx.Client) -> None:
    answer = client.post("/total?times=3&label=3", content=b"1\n2\n", headers=NDJSON)
    assert answer.text == "39.0"
    wrong = client.post("/total?times=x&more=1", content=b"1\n", headers=NDJSON)
    assert wrong.status_code == 400
    assert [detail["field"] for detail in wrong.json()["error"]["details"]] == ["times", "more"]


def test_other_arguments_may_be_the_first_value(client: httpx.Client) -> None:
    led = {"content-type": "application/msgpack-seq; items=numbers"}
    body = b"".join(map(msgpack.packb, [{"times": 3, "label": "="}, 1, 2]))
    for pieces in ([body], [body[:9], body[9:]], [body[at : at + 1] for at in range(len(body))]):
        assert client.post("/total", content=iter(pieces), headers=led).text == "=9.0"
    assert client.post("/total", content=msgpack.packb({}), headers=led).text == "0.0"
    for content in (b"", msgpack.packb(1), msgpack.packb({1: 2})):
        wrong = client.post("/total", content=content, headers=led)
        assert (wrong.status_code, wrong.json()["error"]["details"][0]["field"]) == (400, "body")
        assert "should be a map of the other arguments" in wrong.text
    assert "none can be in the query" in client.post("/total?times=3", content=body, headers=led).text
    for api, name in (("total", "number"), ("add", "a"), ("size", "image")):
        kind = {"content-type": f"application/msgpack-seq; items={name}"}
        wrong = client.post(f"/{api}", content=body, headers=kind)
        assert (wrong.status_code, wrong.json()["error"]["details"][0]["field"]) == (400, name)
        assert "no parameter that is a stream" in wrong.text


def test_items_are_what_the_annotation_says(client: httpx.Client) -> None:
    box = {"width": 1, "label": None}
    answer = client.post("/boxes", content=json.dumps(box).encode() + b"\n", headers=NDJSON)
    assert [json.loads(text) for text in answer.json()] == [box]
    for body, kind, message in (
        (b"1\n2\nx\n", NDJSON, "numbers.2: Invalid JSON"),
        (b'1\n"2"\n', NDJSON, "numbers.1: Input should be a valid number"),
        (b"\xc1", PACKED, "numbers: not msgpack: a byte that begins no value"),
        (b"\x91" * 5000, PACKED, "numbers: not msgpack: nested too deeply"),
        (msgpack.packb("x" * 100)[:50], PACKED, "numbers: the last msgpack value is cut off"),
    ):
        wrong = client.post("/total", content=body, headers=kind)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (400, "invalid")
        assert message in wrong.json()["error"]["message"]


def test_bytes_and_text_come_as_they_are(client: httpx.Client) -> None:
    assert client.post("/count_bytes", content=b"x" * 1000, headers={"content-type": "audio/wav"}).json() == 1000
    text = "grüße, and more".encode()
    pieces = iter([text[:3], text[3:4], text[4:]])  # a character is cut in two
    assert client.post("/shout", content=pieces, headers={"content-type": "text/plain"}).text == "GRÜSSE, AND MORE"


def test_a_list_in_a_json_body_will_do_as_well(client: httpx.Client) -> None:
    assert client.post("/total", json={"numbers": [1, 2], "times": 2}).text == "6.0"


def test_answers_come_while_items_go(odd: RunningApp) -> None:
    with Slowly(odd, "/running", "application/x-ndjson") as request:
        for number, total in ((1, b"1\n"), (2, b"3\n"), (3, b"6\n")):
            request.send(b"%d\n" % number)
            event = request.next()
            if isinstance(event, h11.Response):
                event = request.next()
            assert event.data == total
        request.end()
        assert isinstance(request.next(), h11.EndOfMessage)


def test_a_body_is_not_read_faster_than_its_items_are_taken(odd: RunningApp) -> None:
    begun, left = (printed(odd).count(what) for what in ("begins with", "left after"))
    with Slowly(odd, "/count_bytes?pause=15", "application/octet-stream") as request:
        request.socket.settimeout(0.5)
        sent = 0
        with suppress(TimeoutError):
            while sent < LARGE:
                request.send(b"x" * 65536)
                sent += 65536
        assert sent < LARGE // 2
        wait_until(lambda: printed(odd).count("begins with") > begun, "the api to begin")
        request.reset()  # what was sent in vain would keep a FIN from arriving
    told = "the api to be cancelled although nothing of it is read"
    wait_until(lambda: printed(odd).count("left after") > left, told)


def test_a_body_may_be_larger_than_max_body(client: httpx.Client) -> None:
    pieces = (b"x" * 1_000_000 for _ in range(LARGE // 1_000_000))
    answer = client.post("/count_bytes", content=pieces, headers={"content-type": "application/octet-stream"})
    assert answer.json() == LARGE // 1_000_000 * 1_000_000


def test_an_api_that_has_enough_answers_at_once(odd: RunningApp) -> None:
    with Slowly(odd, "/first_two", "application/x-ndjson") as request:
        request.send(b"1\n2\n3\n")
        assert request.next().status_code == 200
        assert json.loads(request.next().data) == [1, 2]
        start = time.monotonic()
        request.send(b"4\n")
        request.end()
        assert isinstance(request.next(), h11.EndOfMessage)
        assert time.monotonic() - start < 30


def test_a_client_that_goes_away_in_its_body_cancels_the_call(odd: RunningApp) -> None:
    with Slowly(odd, "/count_bytes", "application/octet-stream") as request:
        request.send(b"x" * 1234)
        wait_until(lambda: "begins with 1234 bytes" in printed(odd), "the api to have them")
    wait_until(lambda: "left after 1234 bytes" in printed(odd), "the call to be cancelled")
    wait_until(lambda: all(not row["in_flight"] for row in odd.rows()), "nothing to be left")
