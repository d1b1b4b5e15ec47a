"""What one small call is made of: microseconds of each step, measured apart, with the core that runs here.

    python bench/budget.py                  # SVCD_PURE=1 for the pure core, where another one is compiled

Both sides of a connection are in this process, so that nothing has to be woken; the steps are those of a lone call with
a deadline and a trace. Each is repeated, and the least time of many rounds is told: what the machine does beside only
adds. What is left of a real hop over their sum is the kernel's: two switches between processes, and cold caches.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgpack
import trio

sys.path.insert(0, str(Path(__file__).parent))

import budget_service
from load import ARGUMENTS, TRACE

from svcd.worker.kind import KIND
from svcd_ipc import frames
from svcd_ipc.channel import Channel
from svcd_ipc.connection import Connection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from svcd_ipc.channel import Handler, IncomingCall

ROUNDS, REPEATS, CROWD = 60, 200, 64
LOAD, TIMES = (1, 0), [0, 12, {}]


def connected() -> tuple[Connection, Connection]:
    """Return two connections that have said hello."""
    one, other = Connection(), Connection()
    for speaker, hearer in ((one, other), (other, one)):
        hearer.receive_data(b"".join(speaker.send_hello({})))
        hearer.next_event()
    return one, other


class Steps:
    """One call by hand, its steps timed."""

    def __init__(self) -> None:
        self.least: dict[str, float] = {}
        self._one, self._other = connected()
        self._near, self._far = socket.socketpair()

    def time(self, name: str, step: Callable[[], Any]) -> Any:
        """Run a step once; remember the least time that it took."""
        began = time.perf_counter()
        result = step()
        took = time.perf_counter() - began
        self.least[name] = min(took, self.least.get(name, took))
        return result

    def call(self) -> None:
        """Go through one call and its answer."""
        caller, callee, timed = self._one, self._other, self.time
        number, chunks = timed(
            "caller: encode the call",
            lambda: caller.send_call("echo", ARGUMENTS, time.monotonic() + 60, TRACE, 0, 0, ()),
        )
        self._pass(chunks[0], callee)
        call = timed("callee: decode and check the call", callee.next_event)
        answer = timed("callee: encode the answer", lambda: callee.send_result(number, call.args, LOAD, TIMES))
        self._pass(answer[0], caller)
        timed("caller: decode and check the answer", caller.next_event)

    def _pass(self, frame: Any, to: Connection) -> None:
        self.time("kernel: send, of two", partial(self._near.send, frame))
        data = self.time("kernel: receive, of two", partial(self._far.recv, 65536))
        to.receive_data(data)


async def callers_side() -> float:
    """Return the least seconds of a call whose answer is there as soon as the caller looks for it."""
    near, far = socket.socketpair()
    channel, peer = Channel(near, identity={}), Connection()

    async def answer_first() -> None:
        await trio.lowlevel.wait_readable(far)
        peer.receive_data(far.recv(65536))
        peer.next_event()
        far.send(_answer(1))

    least = 1.0
    async with trio.open_nursery() as nursery:
        far.send(b"".join(peer.send_hello({})))
        await nursery.start(channel.run)
        peer.receive_data(far.recv(65536))
        peer.next_event()
        nursery.start_soon(answer_first)
        await channel.call("echo", ARGUMENTS)  # from now on a lone caller reads for itself
        for number in range(2, ROUNDS * REPEATS):
            far.send(_answer(number))
            began = time.perf_counter()
            await channel.call("echo", ARGUMENTS, deadline=time.monotonic() + 60, trace=TRACE)
            least = min(least, time.perf_counter() - began)
            far.recv(65536)
        channel.close()
    return least


async def callees_side() -> float:
    """Return the least seconds from a call that was received to its answer in the socket."""
    near, far = socket.socketpair()
    channel, peer = Channel(near, identity={}, handler=_echo), Connection()
    reader, connection = channel._reader, channel._connection  # noqa: SLF001 - one pass of the reader, without its waits
    least = 1.0
    async with trio.open_nursery() as nursery:
        far.send(b"".join(peer.send_hello({})))
        await nursery.start(channel.run)
        peer.receive_data(far.recv(65536))
        peer.next_event()
        for _ in range(ROUNDS * REPEATS):
            _, chunks = peer.send_call("echo", ARGUMENTS, time.monotonic() + 60, TRACE)
            connection.receive_data(bytes(chunks[0]))
            began = time.perf_counter()
            reader._take_all(True)  # noqa: SLF001 - as above
            least = min(least, time.perf_counter() - began)
            peer.receive_data(far.recv(65536))
            peer.next_event()
        channel.close()
    return least


def _answer(number: int) -> bytes:
    return frames.pack(msgpack.packb([2, number, ARGUMENTS, *LOAD, TIMES]))


async def _echo(call: IncomingCall) -> Any:
    return call.args


@asynccontextmanager
async def both_sides(handler: Handler) -> AsyncIterator[Channel]:
    """Two channels of one loop; the caller's is given."""
    near, far = socket.socketpair()
    caller, callee = Channel(near, identity={}), Channel(far, identity={}, handler=handler, speaks_first=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(callee.run)
        await nursery.start(caller.run)
        yield caller
        caller.close()


async def lone_calls(channel: Channel, count: int) -> None:
    """Make calls one after the other."""
    for _ in range(count):
        await channel.call("echo", ARGUMENTS, deadline=time.monotonic() + 60, trace=TRACE)


async def whole() -> float:
    """Return the seconds of a whole call, which goes to sleep twice."""
    least = 1.0
    async with both_sides(_echo) as channel:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            await lone_calls(channel, REPEATS)
            least = min(least, (time.perf_counter() - began) / REPEATS)
    return least


async def crowded() -> float:
    """Return the seconds for each of the calls that a crowd makes."""
    least = 1.0
    async with both_sides(_echo) as channel:
        for _ in range(ROUNDS):
            began = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for _ in range(CROWD):
                    nursery.start_soon(lone_calls, channel, REPEATS // 10)
            least = min(least, (time.perf_counter() - began) / (CROWD * (REPEATS // 10)))
    return least


async def streamed() -> float:
    """Return the seconds for each small item of a stream."""
    items = REPEATS * 10
    least = 1.0

    async def count(_call: IncomingCall) -> Any:
        return _count(items)

    async with both_sides(count) as channel:
        for _ in range(ROUNDS // 3):
            began = time.perf_counter()
            async for _ in channel.stream("count", {}):
                pass
            least = min(least, (time.perf_counter() - began) / items)
    return least


async def _count(items: int) -> AsyncIterator[int]:
    for number in range(items):
        yield number


def main() -> None:
    """Print the budget."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    steps = Steps()
    for _ in range(ROUNDS * REPEATS):
        steps.call()
    for _ in range(REPEATS):
        steps.time("kernel: give way, nobody waiting, of two", os.sched_yield)
        steps.time("the clock itself, in each of these", lambda: None)
    print(f"{KIND} core, µs:")
    for name, seconds in steps.least.items():
        print(f"{seconds * 1e6:8.2f}  {name}")
    print(f"{trio.run(callers_side) * 1e6:8.2f}  caller: all of it, with giving way, send and receive")
    print(f"{trio.run(callees_side) * 1e6:8.2f}  callee: all of it after receive, with send")
    print(f"{trio.run(whole) * 1e6:8.2f}  a whole call in one event loop, which goes to sleep twice")
    print(f"{trio.run(crowded) * 1e6:8.2f}  a call of {CROWD} in flight, in one event loop")
    print(f"{trio.run(streamed) * 1e6:8.2f}  an item of a stream, in one event loop")
    print("above the channel, where an app calls:")
    with tempfile.NamedTemporaryFile() as pulse:
        for name, seconds in trio.run(budget_service.least, ROUNDS * REPEATS, pulse.name).items():
            print(f"{seconds * 1e6:8.2f}  {name}")


if __name__ == "__main__":
    main()
