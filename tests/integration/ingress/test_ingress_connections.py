"""Connections: none can end another, idle ones end, and stopping lets requests finish."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_client import Http
    from scripted_ingress import Running

H2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WEBSOCKET = (
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
POST = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc"
GARBAGE = [
    b"\0" * 100,
    b"A" * 100_000,
    b"\r\n\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    POST + b"\0garbage",
    WEBSOCKET,
    WEBSOCKET + b"\x81\x05hello",
    WEBSOCKET.replace(b"13", b"12") + b"\x81\x05hello",
    H2,
    H2 + b"garbage" * 10,
    H2 + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\4\x08\0\0\0\0\7\0\0\0\1",  # settings, window update of a stream that is not
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: !\r\n\r\n",
    b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
]


async def shoot(port: int, data: bytes, *, reset: bool = False) -> None:
    """Send bytes, read what comes for a moment, hang up."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        await stream.send_all(data)
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            with trio.move_on_after(0.02):
                await stream.receive_some()
    except trio.BrokenResourceError:
        pass
    finally:
        await stream.aclose()


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("reset", [False, True])
async def test_garbage_ends_its_own_connection_and_nothing_else(
    ingress: Running, http: Http, garbage: bytes, reset: bool
) -> None:
    await http.post("/echo", b"before")
    await shoot(ingress.port, garbage, reset=reset)
    assert (await http.post("/echo", b"after")).body == b"after"
    async with await ingress.connect() as another:
        assert (await another.post("/echo", b"new")).body == b"new"


async def test_mangled_requests_end_nothing_else(ingress: Running, http: Http) -> None:
    chance = random.Random(20)  # noqa: S311 - the same bytes each time
    async with trio.open_nursery() as nursery:
        for _ in range(150):
            data = bytearray(chance.choice([*GARBAGE, POST]))
            for _ in range(chance.randint(1, 4)):
                data[chance.randrange(len(data))] = chance.randrange(256)
            nursery.start_soon(shoot, ingress.port, bytes(data))
    assert (await http.post("/echo", b"after")).body == b"after"


async def test_an_idle_connection_is_closed_a_busy_one_is_not(
    run: Callable[..., Awaitable[Running]],
) -> None:
    ingress = await run(idle_timeout=0.5)
    started, release = trio.Event(), trio.Event()

    async def wait(_args: dict[str, Any]) -> list[Any]:
        started.set()
        await release.wait()
        return ["text/plain", b"done"]

    ingress.entry.apis["wait"] = wait
    async with await ingress.connect() as busy:
        await busy.send_head("POST", "/wait", {"content-length": "0"})
        await busy.end_body()
        await started.wait()
        async with await ingress.connect() as idle:  # now: one that has asked nothing yet is idle as well
            await idle.post("/echo")
            assert await idle.stream.receive_some() == b""
        release.set()
        assert (await busy.read_body(await busy.read_head())).body == b"done"


async def test_stop_answers_what_is_in_flight_and_takes_nothing_more(ingress: Running, http: Http) -> None:
    started, release = trio.Event(), trio.Event()

    async def wait(_args: dict[str, Any]) -> list[Any]:
        started.set()
        await release.wait()
        return ["text/plain", b"done"]

    ingress.entry.apis["wait"] = wait
    await http.post("/echo")
    async with await ingress.connect() as busy:
        await busy.send_head("POST", "/wait", {"content-length": "0"})
        await busy.end_body()
        await started.wait()
        await ingress.connections.stop()
        assert await http.stream.receive_some() == b""  # was idle
        with pytest.raises(OSError, match="all attempts to connect"):
            await ingress.connect()
        release.set()
        response = await busy.read_body(await busy.read_head())
        assert response.body == b"done"
        assert await busy.stream.receive_some() == b""


async def test_a_client_that_does_not_read_can_be_abandoned(ingress: Running, http: Http) -> None:
    async def flood(_args: dict[str, Any]) -> Any:
        yield "application/octet-stream"
        while True:
            yield b"x" * 1_000_000

    ingress.entry.streams["flood"] = flood
    await http.send_head("POST", "/flood", {"content-length": "0"})
    await http.end_body()
    await http.read_head()
    await ingress.connections.stop()
    assert ingress.connections.abandon() == 1
    while ingress.app.in_flight or len(ingress.connections):
        await trio.lowlevel.checkpoint()
    assert repr(ingress.connections) == "<Connections 0 open>"


async def test_http_2_with_prior_knowledge_is_answered(ingress: Running) -> None:
    # HEADERS: POST http a /echo, END_STREAM; literal path without indexing
    block = b"\x83\x86\x41\x01a\x04\x05/echo"
    head = len(block).to_bytes(3, "big") + b"\x01\x05\0\0\0\1" + block
    stream = await trio.open_tcp_stream("127.0.0.1", ingress.port)
    async with stream:
        await stream.send_all(H2 + b"\0\0\0\4\0\0\0\0\0" + head)
        while not ingress.entry.calls:
            await trio.lowlevel.checkpoint()
        assert ingress.entry.calls[0].args["api"] == "echo"
