"""What one call costs where the caches have forgotten it: the caller's side, whose answer is there already.

    python bench/cold.py

First in one process that reads some memory between two calls, then in several on one core that take turns, each with
the same call: a chain of services without all that is particular to one. Medians in microseconds.
"""

from __future__ import annotations

import mmap
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import trio

sys.path.insert(0, str(Path(__file__).parent))

from budget import ARGUMENTS, TRACE, Channel, Connection, _answer

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTES = (0, 1, 2, 4, 8, 16, 24, 32, 64)
"""Read between two calls."""
PROCESSES = (1, 2, 3, 4, 6, 9, 12)
CALLS = 800
LINE = 64
"""Bytes of a cache line."""
HUGE = 2 << 20
"""Bytes of a huge page: with these what is measured is the caches alone, not the page tables."""
MADV_HUGEPAGE = 14  # mmap has it from Python 3.13 on


def reader(megabytes: int) -> Callable[[], object]:
    """Return what reads one byte of each line of so much memory."""
    if not megabytes:
        return lambda: None
    size = megabytes << 20
    room = mmap.mmap(-1, size + HUGE)
    room.madvise(MADV_HUGEPAGE)
    array = np.frombuffer(room, np.uint8)
    array = array[-array.ctypes.data % HUGE :][:size]
    array[:] = 1
    return array[::LINE].sum


async def calls(before: Callable[[], object], after: Callable[[], object]) -> float:
    """Return the median seconds of a call, with something done before and after each."""
    near, far = socket.socketpair()
    channel, peer = Channel(near, identity={}), Connection()
    took = []
    async with trio.open_nursery() as nursery:
        far.send(b"".join(peer.send_hello({})))
        await nursery.start(channel.run)
        peer.receive_data(far.recv(65536))
        peer.next_event()
        for number in range(1, CALLS):
            far.send(_answer(number))
            before()
            began = time.perf_counter()
            await channel.call("echo", ARGUMENTS, deadline=time.monotonic() + 60, trace=TRACE)
            took.append(time.perf_counter() - began)
            after()
            far.recv(65536)
        channel.close()
    return statistics.median(took[CALLS // 4 :])


def take_turns(token_in: int, token_out: int) -> float:
    """Be one of several processes, of which the one that has the token calls."""
    return trio.run(calls, lambda: os.read(token_in, 1), lambda: os.write(token_out, b"x"))


def in_turns(count: int) -> float:
    """Return the median of `count` processes' medians."""
    pipes = [os.pipe() for _ in range(count)]
    os.write(pipes[0][1], b"x")
    started = []
    for index in range(count):
        fds = (pipes[index][0], pipes[(index + 1) % count][1])
        command = [sys.executable, __file__, *map(str, fds)]
        started.append(subprocess.Popen(command, pass_fds=fds, stdout=subprocess.PIPE, text=True))
    median = statistics.median(float(one.communicate()[0]) for one in started)
    for fd in [fd for pipe in pipes for fd in pipe]:
        os.close(fd)
    return median


def main() -> None:
    """Print both tables."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if len(sys.argv) > 1:
        print(take_turns(int(sys.argv[1]), int(sys.argv[2])))
        return
    for megabytes in MEGABYTES:
        print(f"{megabytes:3} MB read in between  {trio.run(calls, reader(megabytes), lambda: None) * 1e6:7.1f}")
    for count in PROCESSES:
        print(f"{count:3} processes in turns   {in_turns(count) * 1e6:7.1f}")


if __name__ == "__main__":
    main()
