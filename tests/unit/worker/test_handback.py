"""A call that waits for its thread in the kernel: what ends that, and that nothing else waits for it."""

from __future__ import annotations

import signal
import socket
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from deputy_rig import Passes

from svcd.worker.handback import HandBack
from svcd.worker.portal import Portal
from svcd.worker.thread import ServiceThreads
from svcd_ipc import loopstate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LIMIT = 20.0


class Connection:
    """What a call came by that runs in place."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.is_crowded = False


class Rig:
    """Service threads, and a connection that nobody else reads while one of them works."""

    def __init__(self, nursery: trio.Nursery, near: socket.socket, far: socket.socket) -> None:
        self.nursery = nursery
        self.far = far
        self.connection = Connection(near.fileno())
        self.threads = ServiceThreads("test", Portal(nursery))
        self.passes = Passes()
        self.ends: list[Any] = []

    async def run(self, function: Callable[[], Any]) -> Any:
        holders = loopstate.of_this_run().holders
        holders.append(self.connection)
        try:
            return await self.threads.run(function, on_end=lambda: self.ends.append(1))
        finally:
            holders.pop()


@pytest.fixture(autouse=True)
def _as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time never ends a wait, unless a test says so: what should end it has to."""
    monkeypatch.setattr(loopstate, "_LONGEST", LIMIT)


@asynccontextmanager
async def opened() -> AsyncIterator[Rig]:
    near, far = socket.socketpair()
    with near, far, trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            rig = Rig(nursery, near, far)
            rig.threads.start()
            await trio.testing.wait_all_tasks_blocked()
            await trio.lowlevel.checkpoint()  # after it the loop has had a look at who is alone
            trio.lowlevel.add_instrument(rig.passes)
            yield rig
            trio.lowlevel.remove_instrument(rig.passes)
            rig.threads.stop()
            nursery.cancel_scope.cancel()


async def test_a_function_that_is_quick_takes_no_turn_of_the_loop() -> None:
    async with opened() as rig:
        assert [await rig.run(lambda number=number: number) for number in range(100)] == list(range(100))
        assert rig.passes.count == 0
        assert (len(rig.ends), rig.threads.pending, rig.threads.stuck) == (100, 0, 0)


async def test_what_it_raises_comes_back() -> None:
    async with opened() as rig:
        with pytest.raises(KeyError, match="x"):
            await rig.run(lambda: {}["x"])
        assert (rig.ends, rig.threads.is_busy) == ([1], False)


async def test_more_to_read_on_the_connection_ends_the_wait() -> None:
    async with opened() as rig:
        go = threading.Event()
        rig.nursery.start_soon(wait_for_the_loop, go)
        await trio.testing.wait_all_tasks_blocked()

        def work() -> bool:
            rig.far.send(b"a cancel, say")
            return go.wait(LIMIT)

        assert await rig.run(work)
        assert rig.passes.count > 0


async def wait_for_the_loop(go: threading.Event) -> None:
    """Set an event once the loop has turned anew."""
    await trio.sleep(0.001)
    go.set()


async def test_a_task_that_can_run_ends_the_wait_before_it_begins() -> None:
    async with opened() as rig:
        go = threading.Event()
        rig.nursery.start_soon(wait_for_the_loop, go)
        assert await rig.run(lambda: go.wait(LIMIT))


async def test_a_call_back_to_the_loop_is_answered() -> None:
    async with opened() as rig:

        async def add(x: int) -> int:
            await trio.lowlevel.checkpoint()
            return x + 1

        def work(x: int) -> int:
            portal = Portal.current()
            assert portal is not None
            return portal.run(add, x)

        for x in range(20):  # the words that nobody waited for are not taken for those of the next
            assert await rig.run(lambda x=x: work(x)) == x + 1
            assert await rig.run(lambda x=x: x) == x
        assert len(rig.ends) == 40


async def test_a_function_that_is_not_quick_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopstate, "_LONGEST", 0.001)
    async with opened() as rig:
        go = threading.Event()
        rig.nursery.start_soon(wait_for_the_loop, go)
        await trio.testing.wait_all_tasks_blocked()
        assert await rig.run(lambda: go.wait(LIMIT))


async def test_one_that_is_cancelled_after_the_wait_is_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopstate, "_LONGEST", 0.001)
    async with opened() as rig:
        begun, go = threading.Event(), threading.Event()

        def work() -> None:
            begun.set()
            go.wait(LIMIT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(rig.run, work)
            await trio.testing.wait_all_tasks_blocked()
            assert begun.wait(LIMIT)
            nursery.cancel_scope.cancel()
        assert (rig.threads.stuck, rig.ends) == (1, [])
        go.set()
        await rig.run(lambda: None)
        assert (rig.threads.stuck, rig.ends) == (0, [1, 1])


async def test_an_interrupt_ends_the_wait_and_the_function_goes_on_alone() -> None:
    async with opened() as rig:
        go, this = threading.Event(), threading.main_thread().ident
        assert this is not None

        def work() -> None:
            signal.pthread_kill(this, signal.SIGINT)
            go.wait(LIMIT)

        with pytest.raises(KeyboardInterrupt):
            await rig.run(work)
        assert (rig.threads.stuck, rig.ends) == (1, [])
        go.set()
        await rig.run(lambda: None)
        assert (rig.threads.stuck, rig.threads.pending, rig.ends) == (0, 0, [1, 1])


async def test_waits_that_come_to_nothing_are_left_out_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened() as rig:
        waits = []
        wait = HandBack.wait

        def noted(back: HandBack, *args: Any) -> None:
            waits.append(1)
            wait(back, *args)

        def work() -> None:
            portal = Portal.current()
            assert portal is not None
            portal.run(trio.lowlevel.checkpoint)

        monkeypatch.setattr(HandBack, "wait", noted)
        for _ in range(1 + 2 + 1 + 4 + 1 + 8):  # of which those of more than one are left out
            await rig.run(work)
        assert len(waits) == 3
        for _ in range(8 + 1):
            await rig.run(lambda: None)
        assert len(waits) == 3 + 9


async def test_more_calls_behind_it_are_not_held_up() -> None:
    async with opened() as rig:
        rig.connection.is_crowded = True
        assert await rig.run(lambda: 1) == 1
        assert rig.passes.count > 0


async def test_a_loop_that_is_not_known_is_waited_in_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopstate, "of_this_run", loopstate.LoopState)
    monkeypatch.setattr("svcd.worker.handback.of_this_run", loopstate.LoopState)
    async with opened() as rig:
        assert await rig.run(lambda: 1) == 1
        assert rig.passes.count > 0
