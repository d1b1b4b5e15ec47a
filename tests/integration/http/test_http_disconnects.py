"""Clients that go away at any moment leave nothing behind: no call, no task, no descriptor, no memory.

`make test` sends some; `SVCD_SOAK=10000 pytest tests/integration/http/test_http_disconnects.py` sends more.
"""

from __future__ import annotations

import json
import os
import random
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import trio

from http_app import printed
from running import wait_until

if TYPE_CHECKING:
    from running import RunningApp

REQUESTS = int(os.environ.get("SVCD_SOAK", "1500"))
AT_ONCE = 24
LONGEST = 0.03
"""Seconds that a client stays at most before it is gone."""
GROWTH = 12 * 1024 * 1024
"""Bytes by which a process may be larger afterwards: buffers and pools that were filled, which 10,000 requests do no
further than 1,000."""


def requests() -> list[bytes]:
    """What is asked: quick and slow apis of both colours, streams, uploads, applications, pages, halves of requests."""
    return [
        post("/add", {"a": 1}),
        post("/wait", {"seconds": 5.0}),
        post("/block", {"seconds": 0.02}),
        post("/forever", {}),
        post("/tokens", {"prompt": "x" * 1000, "n": 100}),
        post("/echo", {"value": "y" * 200_000}),
        post("/fail_after", {"n": 3}),
        b"GET /web/wait HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /web/numbers HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /docs.json HTTP/1.1\r\nhost: a\r\n\r\n",
        post("/add", {"a": 1}) * 3,
        post("/echo", {"value": "z" * 100_000})[:50_000],
        b"POST /add HTTP/1.1\r\nhost",
    ]


def post(path: str, args: dict[str, object]) -> bytes:
    body = json.dumps(args).encode()
    return b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path.encode(), len(body)) + body


async def go_away(port: int, data: bytes, seconds: float, *, reset: bool) -> None:
    """Send, read for a while, and be gone, with a FIN or with a RST."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    try:
        with trio.move_on_after(seconds):
            await stream.send_all(data)
            while await stream.receive_some():
                pass
        if reset:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    except trio.BrokenResourceError:
        pass
    finally:
        stream.socket.close()


async def shoot(port: int, count: int, chance: random.Random) -> None:
    kinds = requests()
    jobs = [(chance.choice(kinds), chance.random() * LONGEST, chance.random() < 0.3) for _ in range(count)]
    room = trio.CapacityLimiter(AT_ONCE)

    async def one(data: bytes, seconds: float, reset: bool) -> None:
        async with room:
            await go_away(port, data, seconds, reset=reset)

    async with trio.open_nursery() as nursery:
        for job in jobs:
            nursery.start_soon(one, *job)


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.timeout(600)
async def test_random_disconnects_leave_nothing_behind(odd: RunningApp) -> None:
    port = urlsplit(odd.url).port or 0
    pids = {row["service"]: row["pid"] for row in odd.rows()}
    chance = random.Random(11)  # noqa: S311 - the same requests each time
    await shoot(port, REQUESTS // 3, chance)  # fills pools and buffers, and opens what stays open
    await trio.to_thread.run_sync(settle, odd)
    before = {name: (descriptors(pid), resident(pid)) for name, pid in pids.items()}
    await shoot(port, REQUESTS - REQUESTS // 3, chance)
    await trio.to_thread.run_sync(settle, odd)
    assert {row["service"]: row["pid"] for row in odd.rows()} == pids  # nobody has died of it
    for name, pid in pids.items():
        files, memory = before[name]
        wait_until(lambda pid=pid, files=files: descriptors(pid) <= files, f"{name} to have {files} descriptors again")
        assert resident(pid) - memory < GROWTH, name
    wait_until(lambda: has_ended(printed(odd)), "every call that began to have said that it ended")
    assert odd.post("add", {"a": 1}) == (200, 2)


def has_ended(said: str) -> bool:
    return said.count("words wait") == said.count("words are done")


def settle(app: RunningApp) -> None:
    """Wait until no process has a call, a queue, or a thread that somebody has given up on."""

    def is_quiet() -> bool:
        return all(row["in_flight"] == 0 and not row.get("queued") for row in app.rows())

    wait_until(is_quiet, "all calls to be over")
