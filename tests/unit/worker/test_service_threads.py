"""The service thread and the way back from it."""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from svcd.worker.portal import CallCancelled, Portal
from svcd.worker.stream import SyncStream, ThreadStream
from svcd.worker.thread import ServiceThreads
from svcd_ipc.calls import IncomingCall, call_context, current_call
from svcd_ipc.messages import Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 20.0


@asynccontextmanager
async def opened(count: int = 1) -> AsyncIterator[ServiceThreads]:
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            threads = ServiceThreads("test", Portal(nursery), count)
            threads.start()
            yield threads
            threads.stop()
            nursery.cancel_scope.cancel()


async def test_functions_run_on_one_thread_in_order() -> None:
    async with opened() as threads:
        seen: list[Any] = []

        async def run(number: int) -> None:
            await threads.run(lambda: seen.append((number, threading.get_ident())))

        for number in range(20):
            await run(number)
        assert [number for number, _ in seen] == list(range(20))
        assert len({ident for _, ident in seen} | {threading.get_ident()}) == 2
        assert not threads.is_busy


async def test_what_a_function_raises_comes_back() -> None:
    async with opened() as threads:
        with pytest.raises(KeyError, match="x"):
            await threads.run(lambda: {}["x"])
        with pytest.raises(SystemExit):
            await threads.run(exit)


async def test_more_threads_run_at_once() -> None:
    async with opened(count=3) as threads:
        barrier = threading.Barrier(3, timeout=LIMIT)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(threads.run, barrier.wait)


async def test_a_running_function_is_abandoned_and_counted_until_it_ends() -> None:
    async with opened() as threads:
        begun, go, ends = threading.Event(), threading.Event(), []

        def work() -> None:
            begun.set()
            go.wait(LIMIT)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: threads.run(work, on_end=lambda: ends.append(1)))
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        assert threads.stuck == 1
        assert threads.is_busy
        assert ends == []
        assert repr(threads) == "<ServiceThreads 1 [1 running, 0 queued, 1 stuck]>"
        go.set()
        await threads.run(lambda: None)
        assert (threads.stuck, ends) == (0, [1])


async def test_a_function_that_has_not_begun_never_does() -> None:
    async with opened() as threads:
        go, ran, ends = threading.Event(), [], []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, lambda: go.wait(LIMIT))
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as inner:
                inner.start_soon(lambda: threads.run(lambda: ran.append(1), on_end=lambda: ends.append(1)))
                await trio.testing.wait_all_tasks_blocked()
                assert threads.queued == 1
                inner.cancel_scope.cancel()
            assert (threads.queued, ends) == (0, [1])
            go.set()
        await threads.run(lambda: None)
        assert ran == []


async def test_a_thread_calls_the_loop_and_carries_its_context() -> None:
    async with opened() as threads:
        call = IncomingCall("x", {}, time.monotonic() + LIMIT, None, 0, Hello(1, {}))

        async def ask(x: int) -> tuple[int, Any]:
            await trio.lowlevel.checkpoint()
            return x + 1, current_call()

        def work() -> Any:
            portal = Portal.current()
            assert portal is not None
            assert not portal.on_loop
            return portal.run(ask, 1)

        with call_context(call):
            assert await threads.run(work) == (2, call)
        assert await threads.run(work) == (2, None)
        assert Portal.current() is None


async def test_errors_on_the_loop_come_back_to_the_thread() -> None:
    async with opened() as threads:

        async def fail() -> None:
            raise OSError("no")

        def work() -> str:
            portal = Portal.current()
            assert portal is not None
            try:
                portal.run(fail)
            except OSError as error:
                return str(error)
            return "nothing"

        assert await threads.run(work) == "no"


async def test_an_abandoned_functions_calls_are_cancelled_now_and_later() -> None:
    async with opened() as threads:
        waiting, seen = trio.Event(), SimpleQueue[str]()

        async def wait() -> None:
            waiting.set()
            await trio.sleep_forever()

        def work() -> None:
            portal = Portal.current()
            assert portal is not None
            for _ in range(2):
                try:
                    portal.run(wait)
                except CallCancelled as error:
                    seen.put(str(error))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, work)
            await waiting.wait()
            nursery.cancel_scope.cancel()
        await threads.run(lambda: None)  # runs once the abandoned one has ended
        assert [seen.get_nowait() for _ in range(2)] == ["the call was cancelled"] * 2


def test_a_call_after_the_loop_has_ended_is_cancelled() -> None:
    portals: list[Portal] = []

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            portals.append(Portal(nursery))
            assert portals[0].on_loop

    trio.run(main)
    with pytest.raises(CallCancelled, match="stopped"):
        portals[0].run(trio.sleep, 0)
    portals[0].post(trio.sleep, 0)


async def test_a_generator_steps_on_its_thread_and_gives_its_slot_back_once() -> None:
    async with opened() as threads:
        ends: list[int] = []
        idents = set()

        def numbers():
            for number in range(3):
                idents.add(threading.get_ident())
                yield number

        stream = ThreadStream(numbers(), threads, lambda: ends.append(1))
        assert [item async for item in stream] == [0, 1, 2]
        await stream.aclose()
        assert ends == [1]
        assert threading.get_ident() not in idents


@pytest.mark.parametrize("taken", [0, 1])
async def test_a_generator_that_is_left_cleans_up_on_its_thread(taken: int) -> None:
    async with opened() as threads:
        ended, closed = trio.Event(), SimpleQueue[int]()

        def numbers():
            try:
                while True:
                    yield 1
            finally:
                closed.put(threading.get_ident())

        stream = ThreadStream(numbers(), threads, ended.set)
        for _ in range(taken):
            await stream.__anext__()
        await stream.aclose()
        await ended.wait()
        assert closed.qsize() == taken  # a generator that never began has nothing to clean up
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()


async def test_a_generator_that_is_cancelled_within_a_step_is_closed_after_it() -> None:
    async with opened() as threads:
        begun, go, ended, closed = threading.Event(), threading.Event(), trio.Event(), SimpleQueue[int]()

        def numbers():
            try:
                begun.set()
                go.wait(LIMIT)
                yield 1
                yield 2
            finally:
                closed.put(1)

        stream = ThreadStream(numbers(), threads, ended.set)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.__anext__)
            await trio.to_thread.run_sync(begun.wait)
            nursery.cancel_scope.cancel()
        assert not ended.is_set()
        go.set()
        await ended.wait()
        assert closed.get_nowait() == 1


async def test_a_plain_iterator_over_a_stream_ends_it_when_left() -> None:
    async with opened() as threads:
        closed = trio.Event()

        class Items:
            async def __anext__(self) -> int:
                return 1

            async def aclose(self) -> None:
                closed.set()

        def work() -> int:
            portal = Portal.current()
            assert portal is not None
            for item in SyncStream(Items(), portal):
                return item
            return 0

        assert await threads.run(work) == 1
        await closed.wait()


async def test_what_is_late_when_a_thread_is_free_for_it_is_not_begun() -> None:
    ran: list[str] = []
    async with opened() as threads:
        now = 0.0
        call = IncomingCall("x", {}, 5.0, None, 0, Hello(1, {}), lambda: now)
        gate = threading.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(threads.run, gate.wait)
            await trio.testing.wait_all_tasks_blocked()
            with call_context(call):
                nursery.start_soon(threads.run, lambda: ran.append("late"))
            await trio.testing.wait_all_tasks_blocked()
            now = 5.0
            gate.set()
            await threads.run(lambda: ran.append("next"))
            nursery.cancel_scope.cancel()  # as whoever holds the deadline does
        assert ran == ["next"]
        assert not threads.is_busy
