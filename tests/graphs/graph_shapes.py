"""Small apps, one per thing that a composition must do. Run by test_graphs.py in every way that svcd can run an app."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from dataclasses import dataclass
from itertools import count

import numpy as np
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
    by_name = svcd.depends("graph_shapes:AddOne")

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


# Streams.


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


# Errors.


class OddError(Exception):
    pass


@svcd.service
class Failing:
    @svcd.api
    async def fail(self, kind: str) -> int:
        if kind == "odd":
            raise OddError("three is odd")
        if kind == "typed":
            raise svcd.InvalidArgument("Failing.fail: kind: no", [{"field": "kind", "message": "no"}])
        if kind == "exit":
            raise SystemExit(3)
        raise KeyError(kind)

    @svcd.api
    def fail_plainly(self) -> int:
        raise OddError("plainly")

    @svcd.api
    async def unsendable(self) -> object:
        return {"lock": threading.Lock()}


@svcd.service
class Errors:
    failing = svcd.depends(Failing)

    @svcd.api
    async def fail(self, kind: str) -> int:
        return await self.failing.fail(kind=kind)

    @svcd.api
    def fail_plainly(self) -> int:
        return self.failing.fail_plainly()

    @svcd.api
    async def caught(self) -> str:
        try:
            await self.failing.fail(kind="odd")
        except OddError as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    @svcd.api
    async def first_of_two(self) -> None:
        await svcd.gather(self.failing.fail(kind="odd"), self.failing.fail_plainly.to_async())

    @svcd.api
    async def unsendable(self) -> object:
        return await self.failing.unsendable()

    @svcd.api
    async def unsendable_argument(self) -> int:
        return await self.failing.fail(kind={1, 2})

    @svcd.api
    async def misspelt(self) -> int:
        return await self.failing.fial(kind="odd")


# Validation, and what types arrive.


@dataclass
class Box:
    width: int
    labels: list[str]


@svcd.service
class Boxes:
    @svcd.api
    async def area(self, box: Box, height: float = 1.5) -> float:
        return box.width * height

    @svcd.api
    def grow(self, box: Box, by: int) -> Box:
        return Box(box.width + by, box.labels)

    @svcd.api
    async def pair(self) -> tuple[int, str]:
        return (1, "one")


@svcd.service
class Types:
    boxes = svcd.depends(Boxes)

    @svcd.api
    async def area(self, width: int) -> float:
        return await self.boxes.area(box=Box(width, []))

    @svcd.api
    async def kinds(self) -> list[str]:
        """Return the names of the types that arrive here."""
        grown = await self.boxes.grow.to_async(Box(1, ["a"]), by=1)
        return [type(grown).__name__, type(await self.boxes.pair()).__name__]

    @svcd.api
    async def wrong(self) -> float:
        return await self.boxes.area(box={"width": "wide", "labels": [1]}, depth=3)


# Arrays.


@svcd.service
class Scale:
    @svcd.api
    def scale(self, image: np.ndarray, by: float) -> np.ndarray:
        if image.flags.writeable:
            raise OddError("an argument that can be written to")
        return image * np.float32(by)

    @svcd.api
    def spoil(self, image: np.ndarray) -> None:
        image[0] = 0


@svcd.service
class Arrays:
    scale = svcd.depends(Scale)

    @svcd.api
    async def run(self) -> list[object]:
        """Return shape, dtype, sum and whether the result can be written to."""
        image = np.arange(60_000, dtype=np.float32).reshape(200, 300)
        scaled = await self.scale.scale.to_async(image=image, by=2)
        return [list(scaled.shape), str(scaled.dtype), float(scaled.sum()), scaled.flags.writeable]

    @svcd.api
    async def spoil(self) -> None:
        await self.scale.spoil.to_async(image=np.zeros(3))

    @svcd.api
    async def echo(self, values: np.ndarray) -> np.ndarray:
        return values


# Deadlines and admission.


@svcd.service
class Slow:
    def __init__(self) -> None:
        self.wake = threading.Event()

    @svcd.api
    async def sleep(self) -> None:
        await trio.sleep_forever()

    @svcd.api
    def sleep_plainly(self) -> None:
        self.wake.wait()

    @svcd.api
    def wake_up(self) -> None:
        self.wake.set()

    @svcd.api
    async def remaining(self) -> float:
        return svcd.current_call().remaining()


@svcd.service
class Relay:
    slow = svcd.depends(Slow)

    @svcd.api
    def remaining(self) -> list[float]:
        mine = svcd.current_call().remaining()
        return [mine, self.slow.to_sync.remaining()]


@svcd.service
class Deadlines:
    slow = svcd.depends(Slow, timeout=0.05)
    relay = svcd.depends(Relay, timeout=20)

    @svcd.api
    async def too_slow(self) -> None:
        await self.slow.sleep()

    @svcd.api
    def too_slow_plainly(self) -> None:
        self.slow.to_sync.sleep()

    @svcd.api
    async def shrinking(self) -> bool:
        """Say whether each hop has less time than the one before, a blocking one in between included."""
        left = [20.0, *await self.relay.remaining.to_async()]
        return left == sorted(left, reverse=True) and left[-1] > 15


@svcd.service(traffic={"max_concurrency": 1})
class Single:
    def __init__(self) -> None:
        self.now = self.most = 0

    @svcd.api
    async def work(self) -> int:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        self.now -= 1
        return self.most


@svcd.service
class Crowd:
    single = svcd.depends(Single)

    @svcd.api
    async def rush(self, calls: int) -> list[int]:
        """Return the most calls that ever ran at once, as each call saw it."""
        return await svcd.gather(*(self.single.work() for _ in range(calls)))


# Batches: one run for many callers, each with its own rows.


@svcd.service(traffic={"max_concurrency": 100})
class Model:
    def __init__(self) -> None:
        self.runs = 0

    @svcd.api(batchable=True, max_batch_size=16)
    async def squares(self, x: np.ndarray) -> np.ndarray:
        self.runs += 1
        await trio.sleep(0.001)
        return x * x

    @svcd.api(batchable=True, batch_dim=(1, 0), idempotent=True)
    def lengths(self, x: np.ndarray, names: list[str], sign: int = 1) -> tuple[list[str], np.ndarray]:
        if "bad" in names:
            raise OddError(f"a bad name in {len(names)}")
        return names, sign * np.abs(x).sum(axis=0)

    @svcd.api(batchable=True)
    async def roots(self, x: list[float]) -> list[object]:
        return [row**0.5 if row >= 0 else OddError(f"{row} has no root") for row in x]

    @svcd.api(batchable=True)
    async def too_few(self, x: list[int]) -> list[int]:
        return x[1:]

    @svcd.api
    async def count(self) -> int:
        return self.runs


@svcd.service
class Batches:
    model = svcd.depends(Model)

    @svcd.api
    async def squares(self, sizes: list[int]) -> list[list[int]]:
        """Ask for so many squares each, all at once."""
        calls = (self.model.squares(x=np.arange(100 * i, 100 * i + n)) for i, n in enumerate(sizes))
        return [rows.tolist() for rows in await svcd.gather(*calls)]

    @svcd.api
    async def shared_runs(self) -> bool:
        before = await self.model.count()
        await svcd.gather(*(self.model.squares(x=np.zeros(1)) for _ in range(64)))
        return await self.model.count() - before <= 8

    @svcd.api
    async def lengths(self) -> list[object]:
        calls = [
            self.model.lengths.to_async(x=np.full((2, n), n), names=[f"n{n}"] * n, sign=(-1) ** n) for n in range(1, 5)
        ]
        return [[names, lengths.tolist()] for names, lengths in await svcd.gather(*calls)]

    @svcd.api
    async def one_is_bad(self, api: str) -> list[str]:
        """Return what becomes of each of five callers, of whom one has a bad row."""

        async def ask(number: int) -> str:
            try:
                if api == "roots":
                    return str((await self.model.roots(x=[-1.0 if number == 3 else 4.0]))[0])
                names = ["bad" if number == 3 else f"n{number}"]
                return (await self.model.lengths.to_async(x=np.ones((2, 1)), names=names))[0][0]
            except (svcd.RemoteError, OddError) as error:
                return str(error).rpartition("OddError: ")[2]

        return await svcd.gather(*map(ask, range(5)))

    @svcd.api
    async def too_few(self) -> list[int]:
        return await self.model.too_few(x=[1, 2, 3])


# Arguments that are streams.


@svcd.service
class Sums:
    def __init__(self) -> None:
        self.cancelled = trio.Event()

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
                pass
        except trio.Cancelled:
            self.cancelled.set()
            raise

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
        with trio.move_on_after(0.05):
            await self.sums.watch(self.count(10**9))
        return [self.closed.is_set(), await self.sums.was_cancelled()]

    @svcd.api
    async def wrong_item(self) -> int:
        return await self.sums.total(iter(["x"]))


# asyncio: its own loop for its own code, and dependencies as usual.


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
                await self.slow.sleep()
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
