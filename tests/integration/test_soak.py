"""Mixed sizes at full load for a long time: memory, descriptors and shared memory stop growing once all is warm.

`make test` loads for a few seconds; `make soak` does for ten minutes (`SVCD_SOAK_SECONDS=600`). What is asked of the
second half of the run is that no process has more than in the first, but for what allocators keep.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

import pytest

from running import PATIENCE, wait_until
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp

SECONDS = float(os.environ.get("SVCD_SOAK_SECONDS", "6"))
SAMPLES = 60
GROWTH = 24 * 1024 * 1024
"""Bytes of private memory by which the second half may be larger: a hundredth of what a leak of one small call in a
hundred would make in ten minutes."""
SPARE = 4
"""Descriptors that may be open for a moment."""

SERVICE = """
    import random
    import time
    from collections.abc import AsyncIterator
    from contextlib import suppress

    import numpy as np
    import trio

    import svcd

    SIZES = (0, 10, 1_000, 30_000, 70_000, 300_000, 1_000_000, 8_000_000)


    @svcd.service(traffic={"max_concurrency": 64})
    class Echo:
        @svcd.api
        async def small(self, text: str) -> str:
            return text

        @svcd.api
        async def array(self, x: np.ndarray) -> np.ndarray:
            return x + 1

        @svcd.api
        async def same(self, x: np.ndarray) -> np.ndarray:
            return x

        @svcd.api
        def blocking(self, data: bytes) -> bytes:
            return data

        @svcd.api
        async def items(self, x: np.ndarray, count: int) -> AsyncIterator[np.ndarray]:
            for _ in range(count):
                yield x

        @svcd.api
        async def slow(self) -> None:
            await trio.sleep(60)


    @svcd.service(traffic={"timeout": 3600})
    class Load:
        echo = svcd.depends(Echo)

        @svcd.api
        async def small(self, text: str) -> str:
            return await self.echo.small(text=text)

        @svcd.api
        async def run(self, seconds: float, tasks: int) -> int:
            end = time.monotonic() + seconds
            calls = 0

            async def work(chance: random.Random) -> None:
                nonlocal calls
                while time.monotonic() < end:
                    await self.once(chance, chance.choice(SIZES))
                    calls += 1

            async with trio.open_nursery() as nursery:
                for number in range(tasks):
                    nursery.start_soon(work, random.Random(number))
            return calls

        async def once(self, chance: random.Random, size: int) -> None:
            x = np.full(size, 7, np.uint8)
            kind = chance.randrange(12)
            if kind == 0:
                assert (await self.echo.array(x=x)).sum() == 8 * size
            elif kind == 1:
                assert (await self.echo.same(x=x)).sum() == 7 * size
            elif kind == 2:
                assert len(await self.echo.to_async.blocking(data=bytes(size))) == size
            elif kind == 3:
                async for item in self.echo.items(x=x[:100_000], count=5):
                    assert item.nbytes == min(size, 100_000)
            elif kind == 4:
                with trio.move_on_after(0.001), suppress(svcd.DeadlineExceeded):
                    await self.echo.slow()
            elif kind == 5:
                with trio.move_on_after(0.002), suppress(svcd.DeadlineExceeded):
                    await self.echo.array(x=x)
            elif kind == 6:
                with suppress(svcd.InvalidArgument):
                    await self.echo.array(x="no array")
            else:
                assert await self.echo.small(text="x" * (size % 5000)) == "x" * (size % 5000)

"""


class Watched(NamedTuple):
    """What one process has at one moment."""

    private: int
    """Bytes of memory that is its alone."""
    descriptors: int
    shared: int
    """Bytes of the memfds that it holds."""


def look(pid: int) -> Watched:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    private = int(status["RssAnon"].split()[0]) * 1024
    count, shared = 0, {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += 1
            if entry.readlink().name.startswith("memfd:"):
                found = entry.stat()
                shared[found.st_ino] = found.st_blocks * 512
        except FileNotFoundError:
            continue
    return Watched(private, count, sum(shared.values()))


@pytest.mark.timeout(SECONDS + 90)
def test_nothing_grows(make_app: Callable[..., RunningApp]) -> None:
    app = make_app(SERVICE, entry="Load")
    with app.up():
        with BlockingClient(app.runtime / "control.sock", {"role": "test"}) as daemon:
            where = daemon.call("where", {"service": "Load"}, timeout=PATIENCE)
        pids = {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}
        pids["daemon"] = app.daemon.pid
        is_over = threading.Event()
        answered: list[int] = []

        def load() -> None:
            with BlockingClient(where["socket"], {"role": "test", "secret": where["secret"]}) as replica:
                answered.append(replica.call("run", {"seconds": SECONDS, "tasks": 8}, timeout=SECONDS + PATIENCE))

        def ask_over_http() -> None:
            with app.connection() as connection:
                while not is_over.is_set():
                    connection.request("POST", "/small", b'{"text": "abc"}', {"Content-Type": "application/json"})
                    assert connection.getresponse().read() == b"abc"

        with ThreadPoolExecutor() as threads:
            loading = threads.submit(load)
            loading.add_done_callback(lambda _: is_over.set())
            asking = threads.submit(ask_over_http)
            seen: dict[str, list[Watched]] = {name: [] for name in pids}
            while not is_over.wait(SECONDS / SAMPLES):
                for name, pid in pids.items():
                    seen[name].append(look(pid))
        loading.result()
        asking.result()
        assert answered
        assert answered[0] > 0
        for name, samples in seen.items():
            check(name, samples)
        wait_until(lambda: all(row["in_flight"] in {0, None} for row in app.rows()), "calls to be over")
        assert {f"{row['service']}/{row['replica']}": row["restarts"] for row in app.rows()}.keys() <= pids.keys()
        assert not any(row["restarts"] for row in app.rows())


def row(name: str, samples: list[Watched]) -> str:
    """Return the medians of some samples for people; `make soak` shows them."""
    private, descriptors, shared = (median(column) for column in zip(*samples, strict=True))
    return f"\n{name:14} {private / 1e6:7.1f} MB private {shared / 1e6:7.1f} MB shared {descriptors:5.0f} descriptors"


def check(name: str, samples: list[Watched]) -> None:
    """Compare the second half of a process's samples with the first, of which the first tenth is left out."""
    first, second = samples[len(samples) // 10 : len(samples) // 2], samples[len(samples) // 2 :]
    report = "\n".join(map(str, samples[:: max(1, len(samples) // 10)]))
    first_minute, last = samples[: len(samples) // 10], samples[-len(samples) // 10 :]
    print(row(name, first_minute), row("  at the end", last))  # noqa: T201 - `make soak` shows it
    grown = median(one.private for one in second) - max(one.private for one in first)
    assert grown < GROWTH, f"{name}: {grown:,} bytes more in the second half\n{report}"
    assert median(one.descriptors for one in second) <= max(one.descriptors for one in first) + SPARE, (
        f"{name}\n{report}"
    )
    # A second touch of the arena costs no more memory; slots are taken again, so that it fills no further.
    assert median(one.shared for one in second) <= 1.25 * max(one.shared for one in first) + GROWTH, f"{name}\n{report}"
