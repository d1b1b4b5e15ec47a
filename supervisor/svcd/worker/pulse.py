"""A worker's side of the pulse (see `svcd.values.pulse`): its page, and the task that beats.

Law: noting a call costs nothing that shows. Two comparisons and at most one store into mapped memory.
"""

from __future__ import annotations

import mmap
import os
import time
from typing import TYPE_CHECKING

import trio

from svcd.values import pulse as page

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.worker.aio import AsyncioSide
    from svcd.worker.serve import LiveService


class Pulse:
    """The page of this process.

    Raises OSError when its file can't be made.
    """

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, page.SIZE)
            self._page = memoryview(mmap.mmap(descriptor, page.SIZE)).cast("d")
        finally:
            os.close(descriptor)
        self._page[0] = page.FORMAT
        self._calls = 0
        self._busy_until = 0.0
        self._turns: dict[AsyncioSide, float] = {}
        """When each asyncio loop last turned."""

    def __repr__(self) -> str:
        return f"<Pulse [{self._calls} calls, until {self._busy_until:.1f}]>"

    def begin(self, deadline: float) -> None:
        """Note that a call was taken."""
        self._calls += 1
        if deadline > self._busy_until:
            self._busy_until = self._page[page.BUSY_UNTIL] = deadline

    def end(self) -> None:
        """Note that a call is over."""
        self._calls -= 1
        if not self._calls:
            self._busy_until = self._page[page.BUSY_UNTIL] = 0.0

    async def beat(self, every: float, services: Callable[[], list[LiveService]]) -> None:
        """Note each turn of the loops, every so many seconds, until cancelled."""
        while True:
            now = self._page[page.TURNED] = self._clock()
            living = services()
            for side in {service.side for service in living if service.side is not None}:
                self._turns.setdefault(side, now)
                side.soon(self._turned_there, side)
            self._page[page.SIDE_TURNED] = min(self._turns.values(), default=0.0)
            stuck = [since for service in living if (since := service.threads.stuck_since(now))]
            self._page[page.STUCK_SINCE] = min(stuck, default=0.0)
            await trio.sleep(every)

    def _turned_there(self, side: AsyncioSide) -> None:
        self._turns[side] = self._clock()
