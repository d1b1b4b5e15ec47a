"""asyncio: its own loop for its own code, and dependencies as usual."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)

import svcd
from graph_shapes.calls import Double, DoublePlainly
from graph_shapes.failures import Failing
from graph_shapes.inputs import Sums
from graph_shapes.limits import Slow
from graph_shapes.results import Numbers


@svcd.service(async_backend="asyncio")
class Asyncio:
    double = svcd.depends(Double)
    plain = svcd.depends(DoublePlainly)
    numbers = svcd.depends(Numbers)
    failing = svcd.depends(Failing)
    slow = svcd.depends(Slow, timeout=0.05)
    patient = svcd.depends(Slow)
    sums = svcd.depends(Sums)

    @svcd.on_startup
    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.from_startup = await self.double.run(x=4)

    @svcd.api
    async def together(self, x: int) -> list[int]:
        return [
            self.from_startup,
            *await asyncio.gather(self.double.run(x=x), self.plain.run.to_async(x=x + 1)),
            *await svcd.gather(self.double.run(x=x + 2), self.double.run(x=x + 3)),
            int(asyncio.get_running_loop() is self.loop),
        ]

    @svcd.api
    def plainly(self, x: int) -> int:
        return self.plain.run(x=x) + self.double.to_sync.run(x=x)

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async with asyncio.timeout(20):
            async for i in self.numbers.upto(n=n):
                await asyncio.sleep(0)
                yield i * i

    @svcd.api
    async def leave_early(self) -> int:
        async for i in self.numbers.upto(n=10_000_000):
            if i == 3:
                break
        return await self.numbers.still_open()

    @svcd.api
    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @svcd.api
    async def pass_on(self, n: int) -> int:
        async def numbers() -> AsyncIterator[int]:
            for i in range(n):
                await asyncio.sleep(0)
                yield i

        return await self.sums.total(numbers())

    @svcd.api
    async def fail(self, kind: str) -> int:
        return await self.failing.fail(kind=kind)

    @svcd.api
    async def first_of_two(self) -> None:
        await svcd.gather(self.failing.fail(kind="odd"), self.patient.sleep())

    @svcd.api
    async def too_slow(self) -> None:
        await self.slow.sleep()

    @svcd.api
    async def timed_out(self) -> str:
        try:
            async with asyncio.timeout(0.01):
                await self.patient.sleep()
        except TimeoutError:
            return "timed out"
        return "nothing"

    @svcd.api
    async def block_the_loop(self) -> int:
        return self.plain.run(x=1)


@svcd.service
class AboveAsyncio:
    below = svcd.depends(Asyncio)

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async for i in self.below.squares(n=n):
            yield i

    @svcd.api
    def together(self, x: int) -> list[int]:
        return self.below.to_sync.together(x=x)


# Two asyncio services, which can share a process: each has a loop of its own there too.


@svcd.service(async_backend="asyncio")
class Ticks:
    async def __is_ready__(self) -> bool:
        await asyncio.sleep(0)
        return True

    @svcd.api
    async def half(self, x: float) -> float:
        await asyncio.sleep(0.001 * x)
        return x / 2

    @svcd.api
    async def count(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            await asyncio.sleep(0)
            yield i

    @svcd.api
    def plainly(self, x: float) -> str:
        return threading.current_thread().name.partition("-")[0] + f" {x}"


@svcd.service(async_backend="asyncio")
class Loops:
    ticks = svcd.depends(Ticks)

    @svcd.api
    async def together(self, n: int) -> list[float]:
        return await asyncio.gather(*(self.ticks.half(x=x) for x in range(n)))

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async for i in self.ticks.count(n=n):
            yield i * i

    @svcd.api
    async def plainly(self, x: float) -> str:
        return await self.ticks.plainly.to_async(x=x)

    @svcd.api
    def half(self, x: float) -> float:
        return self.ticks.half.to_sync(x=x)
