"""What one client may take in time and connections: slow heads, idle connections, too many of them, endless answers."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import trio
import trio.testing
from http_client import Http

from svcd.ingress.connections import Connections
from svcd.ingress.listening import local_listener
from svcd.ingress.log import Log
from svcd.values.specs import HttpLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from scripted_ingress import Running

    Run = Callable[..., Awaitable[Running]]


async def read_all(stream: trio.SocketStream) -> bytes:
    data = b""
    try:
        while piece := await stream.receive_some():
            data += piece
    except trio.BrokenResourceError:
        pass
    return data


def error_in(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head
    return dict(json.loads(body)["error"], status=int(head.split()[1]))


async def test_slowloris_is_answered_408_and_others_are_served(run: Run) -> None:
    ingress = await run(header_timeout=0.3, max_connections=60)
    answers: list[bytes] = []

    async def drip() -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", ingress.port)
        async with stream:
            await stream.send_all(b"POST /echo HTTP/1.1\r\nhost: a\r\n")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keep_dripping, stream)
                answers.append(await read_all(stream))
                nursery.cancel_scope.cancel()

    async def keep_dripping(stream: trio.SocketStream) -> None:
        while True:
            try:
                await stream.send_all(b"x-more: 1\r\n")
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                return
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(drip)
        async with await ingress.connect() as http:
            assert (await http.post("/echo", b"through")).body == b"through"
    assert {(error_in(answer)["status"], error_in(answer)["code"]) for answer in answers} == {(408, "slow_header")}
    assert len(answers) == 50
    while len(ingress.connections):
        await trio.lowlevel.checkpoint()


async def test_a_head_that_is_too_long_is_431(run: Run) -> None:
    ingress = await run(max_header=2000)
    async with await ingress.connect() as http:
        assert (await http.request("POST", "/echo", b"x", {"x-long": "y" * 1500})).status == 200
    stream = await trio.open_tcp_stream("127.0.0.1", ingress.port)
    async with stream:
        await stream.send_all(b"POST /echo HTTP/1.1\r\nhost: a\r\nx-long: " + b"y" * 5000)
        error = error_in(await read_all(stream))
    assert (error["status"], error["code"]) == (431, "header_too_large")


async def test_a_head_that_is_too_long_is_431_also_when_it_comes_in_one_piece(run: Run) -> None:
    ingress = await run(max_header=2000)
    async with await ingress.connect() as http:
        refused = await http.request("POST", "/echo", b"x" * 50_000, {"x-long": "y" * 1980})
        assert (refused.status, refused.error["code"]) == (431, "header_too_large")
        longer = await ingress.connect()
        async with longer:
            assert (await longer.get("/" + "z" * 2000)).status == 431
    assert ingress.entry.calls == []


async def test_a_slow_head_has_its_408_although_more_of_it_comes_meanwhile(run: Run) -> None:
    ingress = await run(header_timeout=0.2)
    stream = await trio.open_tcp_stream("127.0.0.1", ingress.port)
    async with stream:
        await stream.send_all(b"POST /echo HTTP/1.1\r\nhost: a\r\n")
        first = await stream.receive_some(1)  # the 408 has begun
        await stream.send_all(b"content-length: 0\r\n\r\n" + b"GET / HTTP/1.1\r\nhost: a\r\n\r\n" * 50)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(ingress.connections) == 1  # it reads on, so that no reset overtakes its answer
        error = error_in(first + await read_all(stream))
    assert (error["status"], error["code"]) == (408, "slow_header")
    assert ingress.entry.calls == []


async def test_what_is_no_request_is_400_with_a_reason(ingress: Running) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", ingress.port)
    async with stream:
        await stream.send_all(b"HELO there\r\n\r\n")
        error = error_in(await read_all(stream))
    assert (error["status"], error["code"]) == (400, "malformed")


async def test_one_connection_more_takes_the_place_of_an_idle_one(run: Run) -> None:
    ingress = await run(max_connections=2)
    async with await ingress.connect() as first, await ingress.connect() as second:
        await first.post("/echo", b"1")
        await second.post("/echo", b"2")
        async with await ingress.connect() as third:
            assert (await third.post("/echo", b"3")).body == b"3"
            assert await read_all(first.stream) == b""
            assert (await second.post("/echo", b"still")).body == b"still"
    assert ingress.log == ""


async def test_one_connection_more_is_503_when_all_are_busy(run: Run) -> None:
    ingress = await run(max_connections=2)
    release = trio.Event()

    async def wait(_args: dict[str, Any]) -> list[Any]:
        await release.wait()
        return ["text/plain", b"done"]

    ingress.entry.apis["wait"] = wait
    async with await ingress.connect() as first, await ingress.connect() as second:
        for http in (first, second):
            await http.send_head("POST", "/wait", {"content-length": "0"})
            await http.end_body()
        while ingress.app.in_flight < 2:
            await trio.lowlevel.checkpoint()
        async with await ingress.connect() as third:
            await third.send_head("POST", "/echo", {"content-length": "0"})
            response = await third.read_body(await third.read_head())
        assert (response.status, response.error["code"], response.headers["retry-after"]) == (503, "connections", "1")
        release.set()
        for http in (first, second):
            assert (await http.read_body(await http.read_head())).body == b"done"
    assert "none is idle" in ingress.log


async def test_a_client_that_reads_for_ever_has_a_total_time(run: Run) -> None:
    ingress = await run(total_timeout=0.3)
    left = trio.Event()

    async def flood(_args: dict[str, Any]) -> Any:
        try:
            yield "application/octet-stream"
            while True:
                yield b"x" * 100_000
        finally:
            left.set()

    ingress.entry.streams["flood"] = flood
    async with await ingress.connect() as http:
        await http.send_head("POST", "/flood", {"content-length": "0"})
        await http.end_body()
        await http.read_head()
        await left.wait()  # although nothing is read here, and the connection stays open
        while ingress.app.in_flight or len(ingress.connections):
            await trio.lowlevel.checkpoint()
    assert "total_timeout" in ingress.log


async def test_the_local_socket_is_served_like_the_other(run: Run, tmp_path: Path, nursery: trio.Nursery) -> None:
    ingress = await run()
    path = tmp_path / "http.sock"
    with local_listener(str(path)) as listener:
        assert listener is not None
        assert path.stat().st_mode & 0o777 == 0o600
        local = Connections(ingress.app, HttpLimits(), Log(ingress.out))
        nursery.start_soon(local.serve, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])
        async with Http(await trio.open_unix_socket(path)) as http:  # type: ignore[arg-type]  # a stream of the same kind
            assert (await http.post("/echo", b"local")).body == b"local"
        await local.stop()
        while len(local):
            await trio.lowlevel.checkpoint()
    assert not path.exists()


def test_a_local_socket_changes_hands_without_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"

    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    with local_listener(str(path)):
        connect()
        with local_listener(str(path)):
            connect()
        assert not path.exists()  # the one who took it has gone
    with local_listener(str(path)) as first, local_listener(str(path)) as second:
        assert first is not None
        first.close()
        connect()
        assert second is not None
    assert list(tmp_path.iterdir()) == []
