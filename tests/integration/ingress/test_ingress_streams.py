"""Streams: chunks as they come, back-pressure, and errors that a client can tell from an end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.errors import InvalidArgument, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from http_client import Http
    from scripted_ingress import Running


async def test_chunks_come_as_they_are_made(ingress: Running, http: Http) -> None:
    go_on = trio.Event()

    async def count(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"
        yield b"one "
        await go_on.wait()
        yield b"two"

    ingress.entry.streams["count"] = count
    await http.send_head("POST", "/count", {"content-length": "0"})
    await http.end_body()
    response = await http.read_head()
    assert (response.status, response.headers["content-type"]) == (200, "text/plain")
    assert (await http.next_event()).data == b"one "
    go_on.set()
    assert (await http.read_body(response)).body == b"two"
    assert (await http.post("/echo", b"on")).body == b"on"  # the connection goes on


async def test_an_empty_stream_is_an_empty_body(ingress: Running, http: Http) -> None:
    async def nothing(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"

    ingress.entry.streams["nothing"] = nothing
    response = await http.post("/nothing")
    assert (response.status, response.body, response.complete) == (200, b"", True)


async def test_an_error_before_the_first_chunk_has_its_status(ingress: Running, http: Http) -> None:
    async def refuse(_args: dict[str, Any]) -> AsyncIterator[Any]:
        raise InvalidArgument("prompt: missing")
        yield

    async def fail(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"
        raise ServiceUnavailable("Words is failed")

    ingress.entry.streams |= {"refuse": refuse, "fail": fail}
    assert (await http.post("/refuse")).status == 400
    assert (await http.post("/fail")).status == 503


async def test_an_error_after_it_leaves_the_body_incomplete(ingress: Running, http: Http) -> None:
    async def fail(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"
        yield b"so far"
        raise ValueError("the patient is called Ada")

    ingress.entry.streams["fail"] = fail
    response = await http.post("/fail")
    assert (response.status, response.body, response.complete) == (200, b"so far", False)
    assert "500 remote: POST /fail (stream): ValueError" in ingress.log


async def test_an_error_in_an_http_1_0_stream_resets_the_connection(ingress: Running) -> None:
    async def fail(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"
        yield b"so far"
        raise ValueError

    ingress.entry.streams["fail"] = fail
    async with await ingress.connect() as http:
        await http.stream.send_all(b"POST /fail HTTP/1.0\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
        try:
            while await http.stream.receive_some():
                pass
        except trio.BrokenResourceError:
            return
    raise AssertionError("the body looked complete")


async def test_an_error_in_an_event_stream_is_an_event(ingress: Running, http: Http) -> None:
    async def fail(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/event-stream"
        yield b"data: one\n\n"
        raise ServiceUnavailable("Words is failed")

    ingress.entry.streams["fail"] = fail
    response = await http.post("/fail", accept="text/event-stream")
    assert (response.status, response.complete) == (200, True)
    assert response.headers["cache-control"] == "no-store"
    first, error, end = response.body.split(b"\n\n")
    assert (first, end) == (b"data: one", b"")
    name, data = error.split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["code"] == "unavailable"


async def test_a_client_that_does_not_read_holds_the_producer_back(ingress: Running, http: Http) -> None:
    made = 0
    chunk = b"x" * 200_000

    async def flood(_args: dict[str, Any]) -> AsyncIterator[Any]:
        nonlocal made
        yield "application/octet-stream"
        while made < 100:
            made += 1
            yield chunk

    ingress.entry.streams["flood"] = flood
    await http.send_head("POST", "/flood", {"content-length": "0"})
    await http.end_body()
    response = await http.read_head()
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert made < 50
    assert len((await http.read_body(response)).body) == 20_000_000


async def test_leaving_a_stream_cancels_its_producer(ingress: Running) -> None:
    cancelled = trio.Event()

    async def tick(_args: dict[str, Any]) -> AsyncIterator[Any]:
        yield "text/plain"
        yield b"tick"
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    ingress.entry.streams["tick"] = tick
    async with await ingress.connect() as http:
        await http.send_head("POST", "/tick", {"content-length": "0"})
        await http.end_body()
        await http.read_head()
    await cancelled.wait()
    while ingress.app.in_flight:
        await trio.lowlevel.checkpoint()
    assert ingress.log == ""
