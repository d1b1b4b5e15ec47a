"""Messages keep their order, wait for whoever receives, and hold up whoever puts too many."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.trio.worker_context import WorkerContext

from svcd.ingress.connection import Connection
from svcd.ingress.exchange import this_connection
from svcd.ingress.inbox import Inbox
from svcd.ingress.watch import Watch


async def test_a_message_that_is_there_takes_no_turn_of_the_loop() -> None:
    inbox = Inbox(3)
    with trio.testing.assert_no_checkpoints():
        await inbox.put(1)
        await inbox.put(2)
        assert [await inbox.receive(), await inbox.receive()] == [1, 2]


async def test_who_receives_waits_and_who_puts_too_many_waits() -> None:
    inbox, received, put = Inbox(2), [], []

    async def receive() -> None:
        while len(received) < 6:
            received.append(await inbox.receive())

    async def fill() -> None:
        for number in range(6):
            await inbox.put(number)
            put.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked()
        assert put == [0, 1]
        assert repr(inbox) == "<Inbox [2 messages]>"
        nursery.start_soon(receive)
    assert received == put == list(range(6))


async def test_who_receives_can_be_cancelled() -> None:
    inbox = Inbox(1)
    with trio.move_on_after(0) as scope:
        await inbox.receive()
    assert scope.cancelled_caught
    await inbox.put("later")
    assert await inbox.receive() == "later"


async def test_the_end_of_a_request_waits_for_no_room() -> None:
    inbox = Inbox(1)
    await inbox.put({"type": "http.request"})
    with trio.testing.assert_no_checkpoints():
        await inbox.put({"type": "http.disconnect"})
    assert [(await inbox.receive())["type"] for _ in range(2)] == ["http.request", "http.disconnect"]


async def test_who_puts_too_many_is_let_go_at_the_end_of_the_request(nursery: trio.Nursery) -> None:
    inbox = Inbox(1)
    await inbox.put(1)
    nursery.start_soon(inbox.put, 2)
    await trio.testing.wait_all_tasks_blocked()
    await inbox.put({"type": "http.disconnect"})
    await trio.testing.wait_all_tasks_blocked()
    assert not nursery.child_tasks
    assert [await inbox.receive(), (await inbox.receive())["type"]] == [1, "http.disconnect"]


async def no_content(_scope: Any, _receive: Any, send: Any) -> None:
    """Answer without having read the body."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("pieces", [3, 9, 10, 30])
async def test_a_body_in_many_pieces_that_nobody_reads_leaves_no_task_behind(
    pieces: int, nursery: trio.Nursery, autojump_clock: trio.testing.MockClock
) -> None:
    mine, its = trio.socket.socketpair()
    application: Any = no_content
    connection = Connection(ASGIWrapper(application), Config(), WorkerContext(None), trio.SocketStream(mine), Watch())
    is_over = trio.Event()

    async def serve() -> None:
        this_connection.set(connection)
        await connection.run()
        is_over.set()

    nursery.start_soon(serve)
    head = b"OPTIONS / HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with trio.SocketStream(its) as client:
        await client.send_all(head + b"1\r\nx\r\n" * pieces + b"0\r\n\r\n")
        assert (await client.receive_some(1000)).startswith(b"HTTP/1.1 204")
    with trio.fail_after(5):
        await is_over.wait()
