"""Callers that each keep many calls in flight, and callees that count what is in them."""

from __future__ import annotations

import os
import time
from collections import Counter

import trio

import svcd


class Work:
    """Counts the calls that are in it."""

    def __init__(self) -> None:
        self.inside = self.most = self.done = 0

    async def take(self, seconds: float) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await trio.sleep(seconds)
            self.done += 1
        finally:
            self.inside -= 1


@svcd.service(traffic={"max_concurrency": 8})
class Narrow:
    def __init__(self) -> None:
        self.work = Work()

    @svcd.api
    async def run(self, number: int) -> int:
        await self.work.take(0.002 + number % 3 * 0.001)
        return 2 * number

    @svcd.api
    async def counted(self) -> list[int]:
        return [self.work.most, self.work.done, self.work.inside]


@svcd.service(traffic={"max_concurrency": 8}, scaling={"min_replicas": 2, "max_replicas": 2})
class Uneven:
    """Its second replica is ten times slower than the first, which takes `seconds`."""

    def __init__(self) -> None:
        self.name = os.environ["SVCD_REPLICA"]
        self.is_slow = "/1" in self.name

    @svcd.api
    async def run(self, seconds: float) -> str:
        await trio.sleep(10 * seconds if self.is_slow else seconds)
        return self.name


@svcd.service(traffic={"max_concurrency": 8}, scaling={"min_replicas": 2, "max_replicas": 2})
class UnevenPlainly(Uneven):
    """The same in `def` code, which a replica runs one call at a time."""

    @svcd.api
    def run(self, seconds: float) -> str:
        time.sleep(10 * seconds if self.is_slow else seconds)
        return self.name


@svcd.service
class Caller:
    narrow = svcd.depends(Narrow)
    uneven = svcd.depends(Uneven)
    uneven_plainly = svcd.depends(UnevenPlainly)

    @svcd.api
    async def rush(self, at_once: int, until: float) -> int:
        """Keep so many calls in flight until an instant of the monotonic clock; return how many came back right."""
        done = 0

        async def one(number: int) -> None:
            nonlocal done
            while time.monotonic() < until:
                assert await self.narrow.run(number=number) == 2 * number
                done += 1

        async with trio.open_nursery() as nursery:
            for number in range(at_once):
                nursery.start_soon(one, number)
        return done

    @svcd.api
    async def spread(self, dependency: str, at_once: int, calls: int, seconds: float) -> dict[str, int]:
        """Return how many of so many calls each replica got, where the quick one takes `seconds` for each."""
        run = getattr(self, dependency).to_async.run
        got: Counter[str] = Counter()

        async def one() -> None:
            for _ in range(calls // at_once):
                got[await run(seconds=seconds)] += 1

        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(one)
        return dict(got)


@svcd.service
class Caller1(Caller):
    pass


@svcd.service
class Caller2(Caller):
    pass


@svcd.service
class Caller3(Caller):
    pass


@svcd.service
class Caller4(Caller):
    pass


@svcd.service
class Crowd:
    first = svcd.depends(Caller1)
    second = svcd.depends(Caller2)
    third = svcd.depends(Caller3)
    fourth = svcd.depends(Caller4)
    narrow = svcd.depends(Narrow)

    @svcd.api
    async def rush(self, at_once: int, seconds: float) -> list[int]:
        until = time.monotonic() + seconds
        callers = (self.first, self.second, self.third, self.fourth)
        return await svcd.gather(*(caller.rush(at_once=at_once, until=until) for caller in callers))

    @svcd.api
    async def counted(self) -> list[int]:
        return await self.narrow.counted()

    @svcd.api
    async def spread(self, dependency: str, at_once: int, calls: int, seconds: float) -> dict[str, int]:
        return await self.first.spread(dependency=dependency, at_once=at_once, calls=calls, seconds=seconds)
