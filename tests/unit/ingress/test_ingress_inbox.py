"""Messages keep their order, wait for whoever receives, and hold up whoever puts too many."""

from __future__ import annotations

import trio
import trio.testing

from svcd.ingress.inbox import Inbox


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
