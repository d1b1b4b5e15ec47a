"""What one call from trio into asyncio costs, and one back: a thread for asyncio, or trio as asyncio's guest.

    python bench/asyncio_hop.py

A hop is a trio task that awaits an empty asyncio function (and the other way round). `poll` is a byte that trio reads
from a socket that was just written to: what every message of a data connection costs before anything is done with it.
"""

from __future__ import annotations

import asyncio
import socket
import statistics
import time
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.aio import AsyncioSide
from svcd.worker.portal import Portal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ROUNDS = 3000


async def nothing() -> None:
    """Be the function that is called."""


async def measured(function: Callable[[], Awaitable[Any]]) -> float:
    """Return the median in microseconds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        await function()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6


async def poll() -> float:
    """Return what trio needs to notice a byte."""
    one, other = socket.socketpair()
    one.setblocking(False)
    with one, other:

        async def read() -> None:
            other.send(b"x")
            await trio.lowlevel.wait_readable(one)
            one.recv(1)

        return await measured(read)


async def with_a_thread() -> dict[str, float]:
    """Measure svcd's way."""
    async with trio.open_nursery() as nursery:
        side = AsyncioSide("bench", Portal(nursery))
        side.start()
        figures = {
            "trio to asyncio": await measured(lambda: side.run(nothing)),
            "asyncio to trio": await side.run(lambda: measured(lambda: side.ask(nothing))),
            "poll": await poll(),
        }
        await side.stop()
    return figures


async def as_a_guest() -> dict[str, float]:
    """Measure trio within asyncio: what crosses has no thread to go to, but every poll has."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[dict[str, float]] = loop.create_future()

    async def to_asyncio() -> None:
        task = trio.lowlevel.current_task()
        work = loop.create_task(nothing())
        work.add_done_callback(lambda _: trio.lowlevel.reschedule(task))
        await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

    async def to_trio(nursery: trio.Nursery) -> None:
        answer = loop.create_future()

        async def run() -> None:
            await nothing()
            answer.set_result(None)

        nursery.start_soon(run)
        await answer

    async def main() -> dict[str, float]:
        figures = {"trio to asyncio": await measured(to_asyncio)}
        async with trio.open_nursery() as nursery:
            task = trio.lowlevel.current_task()
            work = loop.create_task(measured(lambda: to_trio(nursery)))
            work.add_done_callback(lambda _: trio.lowlevel.reschedule(task))
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
            figures["asyncio to trio"] = work.result()
        return figures | {"poll": await poll()}

    trio.lowlevel.start_guest_run(
        main,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        run_sync_soon_not_threadsafe=loop.call_soon,
        done_callback=lambda result: done.set_result(result.unwrap()),
    )
    return await done


def main() -> None:
    """Print both, in microseconds."""
    figures = {"a thread for asyncio": trio.run(with_a_thread), "trio as a guest": asyncio.run(as_a_guest())}
    print(f"{'median of ' + str(ROUNDS):24}{'trio to asyncio':>18}{'asyncio to trio':>18}{'poll':>8}")
    for name, row in figures.items():
        print(f"{name:24}{row['trio to asyncio']:15.0f} µs{row['asyncio to trio']:15.0f} µs{row['poll']:5.0f} µs")


if __name__ == "__main__":
    main()
