"""What it costs two processes to wait for each other, in each way that there is to wait, and what they do in between.

    python bench/wakeups.py [--calls N]

Two processes send one byte there and back over a Unix socket, and both work for a few microseconds before they send.
Both are pinned, to one core or to two. The time of the work, measured apart, is taken off: what is left is the waiting.

- `recv` sleeps in recv(2), as the floor of the other benchmarks does. The kernel wakes it when the peer has *read* what
  it was sent, since there is room again; if there is nothing to receive yet, it sleeps on.
- `poll` sleeps in poll(2) until there is something to receive.
- `edge` sleeps in epoll_wait(2), and is woken when the peer has read, too (an edge of EPOLLOUT).
- `look` does so as well, and then looks for bytes for 80 µs before it sleeps on: what `svcd_ipc.kernelwait` does.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import statistics
import sys
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK = 80e-6
WARM_UP = 0.1
THING = {"text": "one small call", "number": 7}


def work(rounds: int) -> None:
    """Be busy with what Python does in a call: small objects, dictionaries, C functions."""
    for _ in range(rounds):
        for key in sorted(json.loads(json.dumps(THING))):
            key.upper()


def receiver(way: str, sock: socket.socket) -> Callable[[], bytes]:
    """Return what waits for the next byte in this way."""
    if way == "recv":
        return lambda: sock.recv(1)
    sock.setblocking(False)
    if way == "poll":
        poll = select.poll()
        poll.register(sock, select.POLLIN)

        def receive() -> bytes:
            poll.poll()
            return sock.recv(1)

        return receive
    epoll = select.epoll()
    epoll.register(sock, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    look = LOOK if way == "look" else 0.0

    def receive_woken_early() -> bytes:
        while True:
            epoll.poll()
            end = perf_counter() + look
            while True:
                try:
                    return sock.recv(1)
                except BlockingIOError:
                    if perf_counter() > end:
                        break
                os.sched_yield()

    return receive_woken_early


def answer(way: str, sock: socket.socket, rounds: int) -> None:
    """Be the peer, until the other end is closed."""
    receive = receiver(way, sock)
    while data := receive():
        work(rounds)
        sock.send(data)


def measure(way: str, cores: tuple[int, int], rounds: int, calls: int) -> float:
    """Return the median seconds of waiting in a call there and back, of which the work is taken off."""
    mine, its = socket.socketpair()
    peer = os.fork()
    if peer == 0:
        mine.close()
        os.sched_setaffinity(0, {cores[1]})
        answer(way, its, rounds)
        os._exit(0)
    its.close()
    os.sched_setaffinity(0, {cores[0]})
    receive = receiver(way, mine)
    times = []
    for _ in range(calls):
        start = perf_counter()
        mine.send(b"x")
        receive()
        times.append(perf_counter() - start)
        work(rounds)
    mine.close()
    os.waitpid(peer, 0)
    return statistics.median(times[int(calls * WARM_UP) :]) - time_of(rounds)


def time_of(rounds: int) -> float:
    """Return the median seconds of the work, caches warm."""
    times = []
    for _ in range(500):
        start = perf_counter()
        work(rounds)
        times.append(perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="What it costs two processes to wait for each other.")
    parser.add_argument("--calls", type=int, default=8_000, metavar="N", help="per figure (default %(default)s)")
    calls = parser.parse_args().calls
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        sys.exit("wakeups.py: needs two cores")
    places = {"one core": (cores[0], cores[0]), "two cores": (cores[0], cores[1])}
    print("µs of waiting, there and back")
    print(f"{'':10} {'work':>7} " + " ".join(f"{way:>7}" for way in ("recv", "poll", "edge", "look")))
    for rounds in (0, 1, 4):
        for place, pinned in places.items():
            found = [measure(way, pinned, rounds, calls) for way in ("recv", "poll", "edge", "look")]
            shown = " ".join(f"{seconds * 1e6:7.1f}" for seconds in found)
            print(f"{place:10} {time_of(rounds) * 1e6:7.1f} {shown}", flush=True)


if __name__ == "__main__":
    main()
