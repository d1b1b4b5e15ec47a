"""Services that the replica tests run in processes of their own."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)
from pathlib import Path

import trio

import svcd

NOTES = Path(os.environ.get("WORKER_NOTES", "/nowhere"))


def note(text: str) -> None:
    """Leave a file that the test waits for."""
    (NOTES / text).touch()


@svcd.service
class Echo:
    def __init__(self) -> None:
        self.thread = threading.current_thread()

    @svcd.on_shutdown
    def leave(self) -> None:
        note("shutdown")

    @svcd.api
    async def echo(self, value: object) -> object:
        """Give back what came."""
        return value

    @svcd.api
    def plainly(self, value: int) -> int:
        assert threading.current_thread() is self.thread
        return value

    @svcd.api
    async def modules(self) -> list[str]:
        return sorted(sys.modules)

    @svcd.api
    def environment(self) -> dict[str, object]:
        import svcd_ipc

        return {
            "svcd": svcd.__file__,
            "ipc": svcd_ipc.__file__,
            "path": sys.path,
            "stdin": str(Path("/proc/self/fd/0").readlink()),
        }

    @svcd.api
    async def print_line(self, text: str) -> None:
        print(text)  # noqa: T201  (what the test looks for in the log)

    @svcd.api
    async def chunks(self, n: int) -> AsyncIterator[dict[str, int]]:
        for i in range(n):
            yield {"n": i}

    @svcd.api
    async def quit(self) -> None:
        raise SystemExit(7)


@svcd.service
class Last:
    def __init__(self) -> None:
        self.blocked = threading.Event()

    @svcd.api
    async def hang(self) -> None:
        note(f"running-{svcd.current_call().remaining() < 25}")
        try:
            await trio.sleep_forever()
        finally:
            note("last-cancelled")

    @svcd.api
    def block(self) -> None:
        note("blocked")
        self.blocked.wait()

    @svcd.api
    async def unblock(self) -> None:
        self.blocked.set()

    @svcd.api
    async def remaining(self) -> float:
        return svcd.current_call().remaining()

    @svcd.api(idempotent=True)
    async def who(self, slow: bool = False) -> int:
        if slow:
            note(f"who-{os.getpid()}")
            await trio.sleep_forever()
        return os.getpid()


@svcd.service
class Middle:
    last = svcd.depends(Last)

    @svcd.api
    async def hang(self) -> None:
        try:
            await self.last.hang()
        finally:
            note("middle-cancelled")

    @svcd.api
    def hang_plainly(self) -> None:
        try:
            self.last.to_sync.hang()
        except svcd.CallCancelled:
            note("middle-cancelled")
            raise

    @svcd.api
    def remaining(self) -> list[float]:
        return [svcd.current_call().remaining(), self.last.to_sync.remaining()]


@svcd.service
class First:
    middle = svcd.depends(Middle)
    last = svcd.depends(Last, retries=1)

    @svcd.api
    async def hang(self) -> None:
        await self.middle.hang()

    @svcd.api
    async def hang_plainly(self) -> None:
        await self.middle.hang_plainly.to_async()

    @svcd.api
    async def remaining(self) -> list[float]:
        return [svcd.current_call().remaining(), *await self.middle.remaining.to_async()]

    @svcd.api
    async def lose(self) -> None:
        await self.last.hang()

    @svcd.api
    async def retry(self, slow: bool) -> int:
        return await self.last.who(slow=slow)


@svcd.service
class Batched:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []

    @svcd.api(batchable=True, max_batch_size=64)
    def double(self, x: list[int]) -> list[int]:
        self.batches.append(x)
        time.sleep(0.02)  # a kernel that takes as long for one row as for all; its callers are back sooner
        return [2 * row for row in x]

    @svcd.api(batchable=True)
    def hold(self, x: list[int]) -> list[int]:
        note(f"held-{len(self.batches)}")
        self.batches.append(x)
        while not (NOTES / "go-on").exists():
            time.sleep(0.005)
        return x

    @svcd.api
    async def seen(self) -> list[list[int]]:
        return self.batches


@svcd.service
class Wide:
    """Gives and takes items of 1 MiB."""

    def __init__(self) -> None:
        self.made = 0
        self.taken = 0
        self.left = trio.Event()

    @svcd.api
    async def give(self, fail_after: int = 0) -> AsyncIterator[bytes]:
        try:
            while not fail_after or self.made < fail_after:
                self.made += 1
                yield bytes(1024 * 1024)
            raise ValueError(f"no item {self.made + 1}")
        finally:
            self.left.set()

    @svcd.api
    async def take(self, items: AsyncIterator[bytes], most: int) -> int:
        try:
            async for _ in items:
                self.taken += 1
                if self.taken == most:
                    await trio.sleep_forever()
        finally:
            self.left.set()

    @svcd.api
    async def counts(self) -> list[int]:
        return [self.made, self.taken]

    @svcd.api
    async def was_left(self) -> bool:
        with trio.move_on_after(20):
            await self.left.wait()
        return self.left.is_set()


@svcd.service
class Slow:
    """Reads and feeds Wide, three items at most."""

    wide = svcd.depends(Wide)

    def __init__(self) -> None:
        self.made = 0
        self.closed = False

    @svcd.api
    async def read(self) -> None:
        async for _ in self.wide.give():
            self.made += 1
            if self.made == 3:
                await trio.sleep_forever()

    @svcd.api
    async def feed(self) -> None:
        async def items() -> AsyncIterator[bytes]:
            try:
                while True:
                    self.made += 1
                    yield bytes(1024 * 1024)
            finally:
                self.closed = True

        await self.wide.take(items(), most=3)

    @svcd.api
    async def told(self) -> list[int]:
        return [self.made, int(self.closed), *await self.wide.counts()]

    @svcd.api
    async def was_left(self) -> bool:
        return await self.wide.was_left()

    @svcd.api
    async def until_it_fails(self) -> list[object]:
        seen = 0
        try:
            async for _ in self.wide.give(fail_after=3):
                seen += 1
        except svcd.RemoteError as error:
            return [seen, error.message]
        return [seen, "no error"]
