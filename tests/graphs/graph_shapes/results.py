"""Streams of results."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from contextlib import contextmanager
from typing import Any

import trio

import svcd


@svcd.service
class Numbers:
    def __init__(self) -> None:
        self.open = 0
        self.all_closed = trio.Event()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.open += 1
        self.all_closed = trio.Event()
        try:
            yield
        finally:
            self.open -= 1
            if not self.open:
                self.all_closed.set()

    @svcd.api
    async def upto(self, n: int) -> AsyncIterator[int]:
        with self._counted():
            for i in range(n):
                yield i
                await trio.lowlevel.checkpoint()

    @svcd.api
    def upto_plainly(self, n: int) -> Iterator[int]:
        yield from range(n)

    @svcd.api
    async def fail_at(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise ValueError(f"no {n} here")

    @svcd.api
    async def unsendable(self) -> AsyncIterator[Any]:
        with self._counted():
            for i in range(10_000_000):
                yield {"scores": [i, {i}]} if i == 2 else i

    @svcd.api
    def unsendable_plainly(self) -> Iterator[Any]:
        for i in range(3):
            yield {"scores": [i, {i}]} if i == 2 else i

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
    async def unsendable_argument(self) -> AsyncIterator[int]:
        """An error of this handler's own, and no item of its."""
        yield 0
        async for i in self.numbers.upto(n={1}):
            yield i

    @svcd.api
    async def after_an_unsendable_item(self) -> int:
        """Return how many streams are open at Numbers after one broke off at an item that cannot travel."""
        try:
            async for _ in self.numbers.unsendable():
                pass
        except svcd.BadResult:
            return await self.numbers.still_open()
        return -1

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
