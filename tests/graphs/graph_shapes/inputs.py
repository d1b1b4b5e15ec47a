"""Arguments that are streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)

import trio

import svcd
from graph_shapes.failures import OddError


@svcd.service
class Sums:
    def __init__(self) -> None:
        self.watching, self.cancelled = trio.Event(), trio.Event()

    @svcd.api
    async def total(self, items: AsyncIterator[int], times: int = 1) -> int:
        return times * sum([item async for item in items])

    @svcd.api
    def total_plainly(self, items: Iterator[int]) -> int:
        return sum(items)

    @svcd.api
    async def running(self, items: AsyncIterator[int]) -> AsyncIterator[int]:
        so_far = 0
        async for item in items:
            so_far += item
            yield so_far

    @svcd.api
    def running_plainly(self, items: Iterator[int]) -> Iterator[int]:
        so_far = 0
        for item in items:
            so_far += item
            yield so_far

    @svcd.api
    async def take(self, items: AsyncIterator[int], count: int) -> list[int]:
        return [await anext(items) for _ in range(count)]

    @svcd.api
    async def watch(self, items: AsyncIterator[int]) -> None:
        try:
            async for _ in items:
                self.watching.set()
        except trio.Cancelled:
            self.cancelled.set()
            raise

    @svcd.api
    async def is_watching(self) -> None:
        """Return once it is."""
        await self.watching.wait()

    @svcd.api
    async def was_cancelled(self) -> bool:
        with trio.move_on_after(5):
            await self.cancelled.wait()
        return self.cancelled.is_set()


@svcd.service
class Inputs:
    sums = svcd.depends(Sums)

    def __init__(self) -> None:
        self.made = 0
        self.closed = trio.Event()

    async def count(self, n: int, fail: bool = False) -> AsyncIterator[int]:
        self.made = 0
        try:
            for i in range(n):
                self.made += 1
                yield i
                await trio.lowlevel.checkpoint()
            if fail:
                raise OddError(f"no {n} here")
        finally:
            self.closed.set()

    @svcd.api
    async def total(self, n: int) -> list[int]:
        return [
            await self.sums.total(self.count(n), times=2),
            await self.sums.total_plainly.to_async(items=self.count(n)),
            await self.sums.total([1, 2]),
        ]

    @svcd.api
    def total_plainly(self, n: int) -> list[int]:
        return [self.sums.total.to_sync(items=iter(range(n))), self.sums.total_plainly(iter(range(n)))]

    @svcd.api
    async def running(self, n: int) -> AsyncIterator[int]:
        async for item in self.sums.running(self.count(n)):
            yield item

    @svcd.api
    def running_plainly(self, n: int) -> Iterator[int]:
        yield from self.sums.running_plainly(iter(range(n)))

    @svcd.api
    async def passed_on(self, items: AsyncIterator[int]) -> int:
        return await self.sums.total(items)

    @svcd.api
    async def bounded(self) -> list[object]:
        """Return what was taken of an endless source, whether little more was made, and whether it was closed."""
        taken = await self.sums.take(self.count(10**9), count=3)
        return [taken, self.made < 200, self.closed.is_set()]

    @svcd.api
    async def failing(self) -> int:
        return await self.sums.total(self.count(3, fail=True))

    @svcd.api
    async def cancelled(self) -> list[bool]:
        """Return whether source and callee were ended with their caller."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sums.watch, self.count(10**9))
            await self.sums.is_watching()
            nursery.cancel_scope.cancel()
        return [self.closed.is_set(), await self.sums.was_cancelled()]

    @svcd.api
    async def wrong_item(self) -> int:
        return await self.sums.total(iter(["x"]))
