"""A request that came in one piece is answered as any other, whatever becomes of it; see `svcd.ingress.plain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from scripted_ingress import Hanging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from http_client import Http, Response
    from scripted_ingress import Running

VARYING = ("date", "traceparent", "server-timing")
LARGE = 8_000_000
"""Bytes; more than the kernel takes of an answer that nobody reads."""


async def in_pieces(http: Http, path: str, body: bytes) -> Response:
    await http.send_head("POST", path, {"content-length": str(len(body))})
    await http.send_body(body)
    await http.end_body()
    return await http.read_body(await http.read_head())


def lasting(response: Response) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return what is the same of two answers to one request."""
    kept = [(name, "" if name in VARYING else value) for name, value in response.headers.items()]
    return response.status, kept, response.body


async def items(_args: dict[str, Any]) -> AsyncIterator[Any]:
    for item in ("text/event-stream", b"1", b"2"):
        yield item


async def broken(_args: dict[str, Any]) -> list[Any]:
    return ["text/plain\r\nset-cookie: a=b", b"a type that must not end its line"]


@pytest.mark.parametrize("path", ["/echo", "/nothing", "/livez", "/items", "/busy"])
async def test_one_piece_or_several_make_no_difference(ingress: Running, path: str) -> None:
    ingress.entry.streams["items"] = items
    async with await ingress.connect() as one, await ingress.connect() as other:
        pieces, whole = await in_pieces(one, path, b"abc"), await other.post(path, b"abc")
        assert lasting(pieces) == lasting(whole)
        for http in (one, other):  # and both connections are as good as new
            assert (await http.post("/echo", b"next")).body == b"next"
            assert (await in_pieces(http, "/echo", b"after that")).body == b"after that"


async def test_a_header_that_would_be_two_is_not_sent(ingress: Running, http: Http) -> None:
    ingress.entry.apis["broken"] = broken
    await http.send_whole("POST", "/broken", b"abc", {"content-length": "3"})
    received = b""
    with trio.fail_after(10):
        while piece := await http.stream.receive_some():
            received += piece
    assert b"set-cookie" not in received


async def test_what_comes_while_one_is_answered_waits_for_it(ingress: Running, http: Http) -> None:
    hanging, release = Hanging(), trio.Event()

    async def held(_args: dict[str, Any]) -> list[Any]:
        hanging.started.set()
        await release.wait()
        return ["text/plain", b"first"]

    ingress.entry.apis["held"] = held
    request = b"POST /%s HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nsecond"
    await http.stream.send_all(request % b"held")
    await hanging.started.wait()
    await http.stream.send_all(request % b"echo")
    await http.stream.send_all(request[:20])
    await trio.testing.wait_all_tasks_blocked(0.1)  # beyond the tick after which the client is watched, and so read
    release.set()
    received = b""
    with trio.fail_after(10):
        while not received.endswith(b"second"):
            received += await http.stream.receive_some()
    assert received.index(b"first") < received.index(b"second")


async def test_what_comes_while_an_answer_is_not_read_waits_for_its_end(ingress: Running, http: Http) -> None:
    async def large(_args: dict[str, Any]) -> list[Any]:
        return ["text/plain", bytes(LARGE)]

    ingress.entry.apis["large"] = large
    request = b"POST /%s HTTP/1.1\r\nhost: a\r\ncontent-length: 6\r\n\r\nsecond"
    await http.stream.send_all(request % b"large")
    received = await http.stream.receive_some(1)  # so it is being sent
    await http.stream.send_all(request % b"echo")
    with trio.fail_after(20):
        while not received.endswith(b"second"):
            received += await http.stream.receive_some()
    assert received.count(bytes(LARGE)) == 1
    assert (await http.post("/echo", b"third")).body == b"third"


async def test_a_client_that_goes_away_cancels_the_call(ingress: Running) -> None:
    hanging = ingress.entry.apis["hang"] = Hanging()
    async with await ingress.connect() as http:
        await http.send_whole("POST", "/hang", b"x", {"content-length": "1"})
        await hanging.started.wait()
    with trio.fail_after(10):
        await hanging.cancelled.wait()


async def test_the_connection_ends_after_the_last_answer_of_an_ingress_that_stops(ingress: Running) -> None:
    started, release = trio.Event(), trio.Event()

    async def held(_args: dict[str, Any]) -> list[Any]:
        started.set()
        await release.wait()
        return ["text/plain", b"last"]

    ingress.entry.apis["held"] = held
    async with await ingress.connect() as http:
        await http.send_whole("POST", "/held", b"x", {"content-length": "1"})
        await started.wait()
        await ingress.connections.stop()
        release.set()
        response = await http.read_body(await http.read_head())
        assert (response.status, response.body) == (200, b"last")
        with trio.fail_after(10):
            assert await http.stream.receive_some() == b""
