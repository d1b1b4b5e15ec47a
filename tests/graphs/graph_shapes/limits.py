"""Deadlines and admission."""

from __future__ import annotations

import threading

import trio

import svcd


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
