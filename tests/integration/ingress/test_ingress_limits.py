"""Bodies that are too large or too slow, and clients that go away."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from scripted_ingress import MAX_BODY, Hanging

from svcd.ingress import exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from http_client import Http
    from scripted_ingress import Running


async def test_the_largest_body_passes(http: Http) -> None:
    assert len((await http.post("/echo", b"x" * MAX_BODY)).body) == MAX_BODY


async def test_a_larger_body_is_413_and_the_entry_sees_nothing(ingress: Running, http: Http) -> None:
    response = await http.post("/echo", b"x" * (MAX_BODY + 1))
    assert (response.status, response.error["code"], response.error["limit"]) == (413, "too_large", MAX_BODY)
    assert ingress.entry.calls == []


async def test_a_declared_length_over_the_limit_is_answered_before_the_body_comes(http: Http) -> None:
    await http.send_head("POST", "/echo", {"content-length": str(10**12)})
    response = await http.read_head()
    assert response.status == 413
    assert b"too_large" in (await http.read_body(response)).body


async def test_a_chunked_body_is_counted_as_it_comes(ingress: Running, http: Http) -> None:
    await http.send_head("POST", "/echo", {"transfer-encoding": "chunked"})
    for _ in range(MAX_BODY // 10_000 + 1):
        await http.send_body(b"x" * 10_000)
    response = await http.read_head()  # although the client has not ended its body
    assert response.status == 413
    assert ingress.entry.calls == []


async def test_a_chunked_body_within_the_limit_arrives_whole(http: Http) -> None:
    await http.send_head("POST", "/echo", {"transfer-encoding": "chunked"})
    for piece in (b"a", b"b" * 1000, b"c"):
        await http.send_body(piece)
    await http.end_body()
    assert (await http.read_body(await http.read_head())).body == b"a" + b"b" * 1000 + b"c"


async def test_a_client_that_sends_all_before_it_reads_gets_its_413(http: Http) -> None:
    await http.send_head("POST", "/echo", {"content-length": str(30 * MAX_BODY)})
    for _ in range(30):
        await http.send_body(b"x" * MAX_BODY)
    await http.end_body()
    assert (await http.read_body(await http.read_head())).status == 413


async def test_expect_100_continue(http: Http) -> None:
    await http.send_head("POST", "/echo", {"content-length": "2", "expect": "100-continue"})
    event = await http.next_event()
    assert event.status_code == 100
    await http.send_body(b"ok")
    await http.end_body()
    assert (await http.read_body(await http.read_head())).body == b"ok"


async def test_a_body_that_never_comes_is_408(
    run: Callable[..., Awaitable[Running]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "LINGER", 0.02)
    ingress = await run(body_timeout=0.02)
    async with await ingress.connect() as http:
        await http.send_head("POST", "/echo", {"content-length": "5"})
        await http.send_body(b"1")
        response = await http.read_body(await http.read_head())
    assert (response.status, response.error["code"]) == (408, "slow_body")
    assert ingress.entry.calls == []


async def test_a_client_that_goes_away_cancels_the_call(ingress: Running) -> None:
    ingress.entry.apis["hang"] = hang = Hanging()
    async with await ingress.connect() as http:
        await http.send_head("POST", "/hang", {"content-length": "0"})
        await http.end_body()
        await hang.started.wait()
        assert ingress.app.in_flight == 1
    await hang.cancelled.wait()
    while ingress.app.in_flight or len(ingress.connections):
        await trio.lowlevel.checkpoint()
    assert ingress.log == ""


@pytest.mark.parametrize("requests", [1, 2, 20])
@pytest.mark.parametrize("reset", [False, True])
async def test_a_pipelining_client_that_goes_away_is_noticed_too(ingress: Running, requests: int, reset: bool) -> None:
    ingress.entry.apis["hang"] = hang = Hanging()
    async with await ingress.connect() as http:
        await http.stream.send_all(b"POST /hang HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n1" * requests)
        await hang.started.wait()
        if reset:
            http.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    await hang.cancelled.wait()
    while ingress.app.in_flight or len(ingress.connections):
        await trio.lowlevel.checkpoint()
    assert len(ingress.entry.calls) == 1


async def test_a_client_that_goes_away_in_its_body_leaves_nothing(ingress: Running) -> None:
    async with await ingress.connect() as http:
        await http.send_head("POST", "/echo", {"content-length": "100"})
        await http.send_body(b"half")
        while not ingress.app.in_flight:
            await trio.lowlevel.checkpoint()
    while ingress.app.in_flight or len(ingress.connections):
        await trio.lowlevel.checkpoint()
    assert (ingress.log, ingress.entry.calls) == ("", [])
