"""What `hop.py` compares: each contender is a server that echoes and a client that measures, in processes of their own.

A client prints one JSON object: the seconds of each call, the calls it lost, and the seconds that all took together.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgpack

if TYPE_CHECKING:
    from collections.abc import Callable

ARGUMENTS = {"text": "one small call", "number": 7}
WARM_UP = 500
"""Calls before the clock starts: the first ones fill caches and settle the clock of the core."""

_LENGTH = struct.Struct("<I")
_READ = 64 * 1024


@dataclass
class Sample:
    """What one client saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from the call to its answer, one per call."""
    lost: int = 0
    """Calls without an answer, or with a wrong one."""
    elapsed: float = 0.0
    """Seconds from the first call to the last answer."""


def floor_serve(path: str) -> None:
    """Echo on one connection with blocking calls: the least that two processes with msgpack can do."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        _say_ready()
        sock, _ = listener.accept()
    packer, frames = msgpack.Packer(), _Frames()
    with sock:
        while data := sock.recv(_READ):
            replies = []
            for _, number, _, arguments in frames.cut(data):
                body = packer.pack([2, number, arguments, 0, 0])
                replies.append(_LENGTH.pack(len(body)) + body)
            sock.sendall(b"".join(replies))


def floor_measure(path: str, in_flight: int, calls: int) -> Sample:
    """Keep `in_flight` calls on their way over one connection, each replaced by the next once it is answered."""
    sample, packer, frames = Sample(), msgpack.Packer(), _Frames()
    sent_at: dict[int, float] = {}
    clock = time.perf_counter

    def request(number: int) -> bytes:
        body = packer.pack([1, number, "echo", ARGUMENTS])
        sent_at[number] = clock()
        return _LENGTH.pack(len(body)) + body

    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        for total in (WARM_UP, calls):
            sample = Sample()
            start = clock()
            todo = deque(range(total))
            sock.sendall(b"".join(request(todo.popleft()) for _ in range(min(in_flight, total))))
            while sent_at:
                requests = []
                for _, number, value, _, _ in frames.cut(sock.recv(_READ)):
                    sample.latencies.append(clock() - sent_at.pop(number))
                    sample.lost += value != ARGUMENTS
                    if todo:
                        requests.append(request(todo.popleft()))
                if requests:
                    sock.sendall(b"".join(requests))
            sample.elapsed = clock() - start
    return sample


def svcd_serve(path: str) -> None:
    """Echo through svcd_ipc, as a replica does."""
    import trio

    from svcd_ipc.server import listen, serve

    async def echo(call: Any) -> Any:
        return call.args

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: serve(listen(path), echo, identity={}, task_status=task_status))
            _say_ready()

    trio.run(main)


def svcd_measure(path: str, in_flight: int, calls: int) -> Sample:
    """Make calls from `in_flight` tasks over one channel, each with a deadline, as a dependency does."""
    import trio

    from svcd_ipc.client import connect

    clock = time.perf_counter

    async def caller(channel: Any, sample: Sample, count: int) -> None:
        for _ in range(count):
            start = clock()
            try:
                value = await channel.call("echo", ARGUMENTS, deadline=time.monotonic() + 60)
            except Exception as error:  # noqa: BLE001 - the benchmark counts what is lost, whatever the reason
                print(error, file=sys.stderr)
                sample.lost += 1
            else:
                sample.lost += value != ARGUMENTS
            sample.latencies.append(clock() - start)

    async def round_of(channel: Any, total: int) -> Sample:
        sample = Sample()
        start = clock()
        async with trio.open_nursery() as nursery:
            for index in range(in_flight):
                count = total // in_flight + (index < total % in_flight)
                nursery.start_soon(caller, channel, sample, count)
        sample.elapsed = clock() - start
        return sample

    async def main() -> Sample:
        async with trio.open_nursery() as nursery:
            channel = await connect(path, nursery=nursery)
            await round_of(channel, WARM_UP)
            sample = await round_of(channel, calls)
            channel.close()
        return sample

    return trio.run(main)


SERVERS: dict[str, Callable[[str], None]] = {"floor": floor_serve, "svcd": svcd_serve}
CLIENTS: dict[str, Callable[[str, int, int], Sample]] = {"floor": floor_measure, "svcd": svcd_measure}


class _Frames:
    """Cuts a stream into messages, with the least code that is right."""

    def __init__(self) -> None:
        self._rest = b""

    def cut(self, data: bytes) -> list[Any]:
        data = self._rest + data
        at, messages = 0, []
        while len(data) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, at)
            end = at + _LENGTH.size + length
            if end > len(data):
                break
            messages.append(msgpack.unpackb(data[at + _LENGTH.size : end]))
            at = end
        self._rest = data[at:]
        return messages


def _say_ready() -> None:
    print("ready", flush=True)


def main(role: str, contender: str, path: str, cpus: str, in_flight: int, calls: int) -> None:
    """Be one process of a run; `cpus` are core numbers joined by commas."""
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    if role == "serve":
        SERVERS[contender](path)
    else:
        json.dump(asdict(CLIENTS[contender](path, in_flight, calls)), sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:5], int(sys.argv[5]), int(sys.argv[6]))
