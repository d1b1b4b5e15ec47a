"""Streams of results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)

import trio

import svcd


@svcd.service
class Numbers:
    def __init__(self) -> None:
        self.open = 0
        self.all_closed = trio.Event()

    @svcd.api
    async def upto(self, n: int) -> AsyncIterator[int]:
        self.open += 1
        self.all_closed = trio.Event()
        try:
            for i in range(n):
                yield i
                await trio.lowlevel.checkpoint()
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    @svcd.api
    def upto_plainly(self, n: int) -> Iterator[int]:
        yield from range(n)

    @svcd.api
    async def fail_at(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise ValueError(f"no {n} here")

    @svcd.api
    async def still_open(self) -> int:
        with trio.move_on_after(5):
            await self.all_closed.wait()
        return self.open


@svcd.service
class Streams:
    numbers = svcd.depends(Numbers)

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async for i in self.numbers.upto(n=n):
            yield i * i

    @svcd.api
    def squares_plainly(self, n: int) -> Iterator[int]:
        for i in self.numbers.upto_plainly(n=n):
            yield i * i

    @svcd.api
    async def fail_at(self, n: int) -> AsyncIterator[int]:
        async for i in self.numbers.fail_at(n=n):
            yield i

    @svcd.api
    async def leave_early(self) -> int:
        """Return how many streams are open at Numbers after one was left by a break."""
        async for i in self.numbers.upto(n=10_000_000):
            if i == 3:
                break
        return await self.numbers.still_open()

    @svcd.api
    def leave_early_plainly(self) -> int:
        for i in self.numbers.to_sync.upto(n=10_000_000):
            if i == 3:
                break
        return self.numbers.to_sync.still_open()
