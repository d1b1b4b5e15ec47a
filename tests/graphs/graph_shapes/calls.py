"""Calls: sequential and parallel, of each colour by each colour, and two ways to one instance."""

from __future__ import annotations

import os
from itertools import count

import trio

import svcd

# Sequential: async all the way, and through plain functions.


@svcd.service
class Double:
    @svcd.api
    async def run(self, x: int) -> int:
        return 2 * x


@svcd.service
class DoublePlainly:
    @svcd.api
    def run(self, x: int) -> int:
        return 2 * x


@svcd.service
class AddOne:
    double = svcd.depends(Double)

    @svcd.api
    async def run(self, x: int) -> int:
        return await self.double.run(x=x) + 1


@svcd.service
class Sequential:
    add_one = svcd.depends(AddOne)

    @svcd.api
    async def run(self, x: int) -> int:
        return await self.add_one.run(x)  # by position: the class is known here

    @svcd.api
    def run_plainly(self, x: int) -> int:
        return self.add_one.to_sync.run(x=x)


# Mixed: each colour calls each colour, __init__ included.


@svcd.service
class Mixed:
    double = svcd.depends(Double)
    plain = svcd.depends(DoublePlainly)
    by_name = svcd.depends("graph_shapes.calls:AddOne")

    def __init__(self) -> None:
        self.from_init = self.plain.run(x=21)

    @svcd.on_startup
    async def prepare(self) -> None:
        self.from_startup = await self.double.run(x=4)

    @svcd.api
    async def async_to_def(self, x: int) -> int:
        return await self.plain.run.to_async(x=x)

    @svcd.api
    def def_to_def(self, x: int) -> int:
        return self.plain.run(x=x)

    @svcd.api
    def def_to_async(self, x: int) -> int:
        return self.double.run.to_sync(x=x)

    @svcd.api
    async def through_a_name(self, x: int) -> int:
        return await self.by_name.run(x=x)

    @svcd.api
    def started(self) -> list[int]:
        return [self.from_init, self.from_startup]

    @svcd.api
    async def block_the_loop(self) -> int:
        return self.plain.run(x=1)


# Parallel: both branches must be there at once, or the meeting never ends. A diamond: Meeting is one instance.


@svcd.service
class Meeting:
    serials = count(1)

    def __init__(self) -> None:
        self.serial = f"{os.getpid()}.{next(self.serials)}"
        self.come = trio.Event()
        self.present = 0

    @svcd.api
    async def meet(self, people: int) -> str:
        self.present += 1
        if self.present == people:
            self.present = 0
            self.come.set()
            self.come = trio.Event()
        else:
            await self.come.wait()
        return self.serial


@svcd.service
class Left:
    meeting = svcd.depends(Meeting)

    @svcd.api
    async def go(self, people: int) -> str:
        return await self.meeting.meet(people=people)


@svcd.service
class Right:
    meeting = svcd.depends(Meeting)

    @svcd.api
    def go(self, people: int) -> str:
        return self.meeting.to_sync.meet(people=people)


@svcd.service
class Diamond:
    left = svcd.depends(Left)
    right = svcd.depends(Right)

    @svcd.api
    async def together(self) -> int:
        """Return how many instances were met."""
        return len(set(await svcd.gather(self.left.go(people=2), self.right.go.to_async(people=2))))

    @svcd.api
    def together_plainly(self) -> int:
        return len(set(svcd.gather(self.left.to_async.go(people=2), self.right.to_async.go(people=2))))

    @svcd.api
    async def in_a_nursery(self) -> int:
        met: set[str] = set()

        async def go(side: object) -> None:
            met.add(await side.to_async.go(people=2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(go, self.left)
            nursery.start_soon(go, self.right)
        return len(met)
