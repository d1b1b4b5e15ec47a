"""Mixed sizes at full load for a long time: memory, descriptors and shared memory stop growing once all is warm.

`make test` loads for a few seconds; `make soak` does for ten minutes (`SVCD_SOAK_SECONDS=600`). The first tenth of that
makes all warm: it begins with the largest of everything asked for by all tasks at once, so that no later moment needs
more. After it nothing grows:

- What lives when all calls are over, and what the interpreter has allocated, is the same at the end (`Rest`).
- The arena follows its law (`svcd_ipc.space`): it takes up what its slots have reached, which is what was held at one
  time at the busiest and some gaps between; nothing is held when all calls are over.
- Private memory is the same at rest, once malloc has been told to give back what is free (`malloc_trim`). Under load it
  is that, what the calls in flight hold, and what malloc keeps of it: no more than if all held the largest at once.
- Descriptors are as many.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from running import PATIENCE, wait_until
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp

SECONDS = float(os.environ.get("SVCD_SOAK_SECONDS", "6"))
WARM = SECONDS / 10
SAMPLES = 60
TASKS = 8
MB = 1_000_000
LIVE = MB // 2
"""Bytes by which what lives at rest may differ: tables of the interpreter that have doubled. To lose 100 bytes in one
call of a hundred would be more in ten minutes, of a thousand calls a second."""
BLOCKS = 3_000 if SECONDS >= 60 else 10_000
"""Objects by which the interpreter's may differ at rest: caches, what waits for the collector, and idle hands
(`svcd_ipc.crew`), not all of which a second of warming makes."""
PRIVATE = 2 * MB
"""Bytes by which private memory may differ at rest: pages that hold a few objects still."""
HELD = 3 * 8 * MB
"""Bytes that one call of the load holds at most: an array, bytes made of it, and the bytes that come back."""
SLOT = 8 * MB
"""Bytes of the largest slot: what an abandoned call leaves to the next one's arena while it is cancelled."""
GAPS = 1.5
"""Times as much as was held at one time an arena may reach: see `svcd_ipc.space`."""
SPARE = 2
"""Descriptors that may be open for a moment."""

SERVICE = """
    import ctypes
    import gc
    import random
    import sys
    import time
    from collections.abc import AsyncIterator
    from contextlib import suppress

    import numpy as np
    import trio

    import svcd
    from svcd_ipc.memory import of_process

    SIZES = (0, 10, 1_000, 30_000, 70_000, 300_000, 1_000_000, 8_000_000)
    KINDS = 13
    HOLDING = (0, 1, 2, 5)


    class Trouble(Exception):
        pass


    class Malloc(ctypes.Structure):
        # struct mallinfo2 of mallinfo(3)
        NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
        _fields_ = [(name, ctypes.c_size_t) for name in NAMES]


    def at_rest() -> list[int]:
        gc.collect()
        libc, arena = ctypes.CDLL(None), of_process()
        libc.mallinfo2.restype = Malloc
        libc.malloc_trim(0)
        found, blocks = libc.mallinfo2(), sys.getallocatedblocks()
        return [found.uordblks + found.hblkhd, blocks, arena.used, arena.most, arena.reached]


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
        async def slow(self, x: np.ndarray) -> None:
            await trio.sleep(60)

        @svcd.api
        async def trouble(self, x: np.ndarray) -> None:
            raise Trouble("as ever")

        @svcd.api
        async def at_rest(self) -> list[int]:
            return at_rest()


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
                    await self.once(chance.randrange(KINDS), chance.choice(SIZES))
                    calls += 1

            async with trio.open_nursery() as nursery:
                for number in range(tasks):
                    nursery.start_soon(work, random.Random(number))
            return calls

        @svcd.api
        async def at_rest(self) -> dict[str, list[int]]:
            return {"Load/0": at_rest(), "Echo/0": await self.echo.at_rest()}

        @svcd.api
        async def all_at_once(self, tasks: int) -> None:
            for kind in HOLDING:
                async with trio.open_nursery() as nursery:
                    for _ in range(tasks):
                        nursery.start_soon(self.once, kind, SIZES[-1])

        async def once(self, kind: int, size: int) -> None:
            x = np.full(size, 7, np.uint8)
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
                    await self.echo.slow(x=x)
            elif kind == 5:
                with trio.move_on_after(0.002), suppress(svcd.DeadlineExceeded):
                    await self.echo.array(x=x)
            elif kind == 6:
                with suppress(svcd.InvalidArgument):
                    await self.echo.array(x="no array")
            elif kind == 7:
                with suppress(Trouble):
                    await self.echo.trouble(x=x)
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


class Rest(NamedTuple):
    """What a replica has when all calls are over."""

    private: int
    """Bytes of memory that is its alone, trimmed."""
    live: int
    """Bytes that malloc has given out."""
    blocks: int
    """Allocations of the interpreter's own."""
    used: int
    """Bytes of its arena that are held."""
    most: int
    """Bytes that were held at one time."""
    reached: int
    """Bytes at the arena's low end that were held at some time."""


class Soak:
    """The load on one app, and what is seen of its processes meanwhile."""

    def __init__(self, app: RunningApp) -> None:
        self.app = app
        with BlockingClient(app.runtime / "control.sock", {"role": "test"}) as daemon:
            self.where = daemon.call("where", {"service": "Load"}, timeout=PATIENCE)
        self.pids = {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}
        assert app.daemon is not None
        self.pids["daemon"] = app.daemon.pid

    def ask(self, api: str, args: dict[str, Any], seconds: float = 0.0) -> Any:
        with BlockingClient(self.where["socket"], {"role": "test", "secret": self.where["secret"]}) as replica:
            return replica.call(api, args, timeout=seconds + PATIENCE)

    def loaded(self, seconds: float) -> dict[str, list[Watched]]:
        """Return what each process had while the load ran."""
        seen: dict[str, list[Watched]] = {name: [] for name in self.pids}
        is_over = threading.Event()
        with ThreadPoolExecutor() as threads:
            loading = threads.submit(self.ask, "run", {"seconds": seconds, "tasks": TASKS}, seconds)
            loading.add_done_callback(lambda _: is_over.set())
            asking = threads.submit(self._ask_over_http, is_over)
            while True:
                for name, pid in self.pids.items():
                    seen[name].append(look(pid))
                if is_over.wait(SECONDS / SAMPLES / 2):
                    break
        assert loading.result() > 0
        asking.result()
        return seen

    def rest(self) -> dict[str, Rest]:
        """Return what the replicas have once all calls are over, and what was borrowed is given back."""
        wait_until(lambda: all(row["in_flight"] in {0, None} for row in self.app.rows()), "calls to be over")

        def found() -> dict[str, Rest] | None:
            figures = self.ask("at_rest", {}).items()
            each = {name: Rest(look(self.pids[name]).private, *of_it) for name, of_it in figures}
            return None if any(one.used for one in each.values()) else each

        resting: dict[str, Rest] = wait_until(found, "the arenas to be free")
        return resting

    def _ask_over_http(self, is_over: threading.Event) -> None:
        with self.app.connection() as connection:
            while not is_over.is_set():
                connection.request("POST", "/small", b'{"text": "abc"}', {"Content-Type": "application/json"})
                assert connection.getresponse().read() == b"abc"


@pytest.mark.timeout(SECONDS + 120)
def test_nothing_grows(make_app: Callable[..., RunningApp]) -> None:
    app = make_app(SERVICE, entry="Load")
    with app.up():
        soak = Soak(app)
        soak.ask("all_at_once", {"tasks": TASKS})
        warming, warm = soak.loaded(WARM), soak.rest()
        later, end = soak.loaded(SECONDS - WARM), soak.rest()
        for name in soak.pids:
            print(row(name, warming[name]), row("  later", later[name]))  # noqa: T201 - `make soak` shows it
            assert top(later[name]).descriptors <= top(warming[name]).descriptors + SPARE, name
        for name in warm:
            print(f"\n{name:14} at rest {warm[name]}\n{'':14} the end {end[name]}")  # noqa: T201 - as above
            check_rest(name, warm[name], end[name])
            most = top(later[name])
            assert most.private <= end[name].private + TASKS * HELD, (name, most)
            assert most.shared <= end[name].reached, (name, most)
        for name in soak.pids.keys() - warm.keys():
            first, then = top(warming[name]), top(later[name])
            assert then.private <= first.private + PRIVATE, (name, first, then)
        assert {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}.items() <= soak.pids.items()


def check_rest(name: str, warm: Rest, end: Rest) -> None:
    """Compare what lives at the end with what lived after the first tenth."""
    assert end.private <= warm.private + PRIVATE, name
    assert end.live <= warm.live + LIVE, name
    assert end.blocks <= warm.blocks + BLOCKS, name
    assert end.reached <= GAPS * end.most, name
    assert end.reached <= warm.reached + SLOT, name


def top(samples: list[Watched]) -> Watched:
    """Return the most of each."""
    return Watched(*map(max, zip(*samples, strict=True)))


def row(name: str, samples: list[Watched]) -> str:
    """Return medians and peaks of some samples for people."""
    private, descriptors, shared = (median(column) for column in zip(*samples, strict=True))
    most = top(samples)
    return (
        f"\n{name:14} {private / MB:7.1f} (most {most.private / MB:.1f}) MB private"
        f" {shared / MB:7.1f} ({most.shared / MB:.1f}) MB shared {descriptors:5.0f} ({most.descriptors}) descriptors"
    )
