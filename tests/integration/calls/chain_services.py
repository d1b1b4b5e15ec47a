"""Five services in a row, each of another kind, that count what is in them; any of them can be made slow."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio

import svcd

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOW = 0.7
"""Seconds that code takes which cannot be interrupted."""
SOON = 0.05
"""Seconds that a process on a busy machine may be kept from running between svcd's last look at the clock and ours."""


class Hop:
    """Counts runs of its api: those that began, those that began after their deadline, those that are over."""

    def __init__(self) -> None:
        self.began = self.late = self.over = 0

    @contextmanager
    def inside(self) -> Iterator[None]:
        self.began += 1
        call = svcd.current_call()
        self.late += call is None or call.remaining() <= -SOON
        try:
            yield
        finally:
            self.over += 1


@svcd.service
class Fifth(Hop):
    @svcd.api
    def run(self, slow: int) -> int:
        with self.inside():
            if slow == 5:
                time.sleep(SLOW)
            return 1

    @svcd.api
    async def counts(self) -> list[list[int]]:
        return [[self.began, self.late, self.over]]


@svcd.service
class Fourth(Hop):
    fifth = svcd.depends(Fifth)

    @svcd.api
    async def run(self, slow: int) -> AsyncIterator[int]:
        with self.inside():
            yield await self.fifth.run.to_async(slow=slow)
            if slow == 4:
                await trio.sleep(60)
            yield await self.fifth.run.to_async(slow=slow)

    @svcd.api
    async def counts(self) -> list[list[int]]:
        return [[self.began, self.late, self.over], *await self.fifth.counts()]


@svcd.service
class Third(Hop):
    fourth = svcd.depends(Fourth)

    @svcd.api(batchable=True)
    def run(self, slow: list[int]) -> list[int]:
        with self.inside():
            if 3 in slow:
                time.sleep(SLOW)
            return [sum(self.fourth.to_sync.run(slow=each)) for each in slow]

    @svcd.api
    async def counts(self) -> list[list[int]]:
        return [[self.began, self.late, self.over], *await self.fourth.counts()]


@svcd.service
class Second(Hop):
    third = svcd.depends(Third)

    @svcd.api
    def run(self, slow: int) -> int:
        with self.inside():
            if slow == 2:
                time.sleep(SLOW)
            return self.third.run(slow=[slow])[0]

    @svcd.api
    async def counts(self) -> list[list[int]]:
        return [[self.began, self.late, self.over], *await self.third.counts()]


@svcd.service(traffic={"timeout": 0.2})
class First(Hop):
    second = svcd.depends(Second)

    @svcd.api
    async def run(self, slow: int) -> int:
        with self.inside():
            if slow == 1:
                await trio.sleep(60)
            return await self.second.run.to_async(slow=slow)

    @svcd.api
    async def counts(self) -> list[list[int]]:
        """What each hop counted, from the first to the fifth: began, began late, over."""
        return [[self.began, self.late, self.over], *await self.second.counts()]
