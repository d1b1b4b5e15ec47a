"""A worker's side of the pulse (see `svcd.values.pulse`): its page, and the task that beats.

Law: noting a call costs nothing that shows. Two comparisons and at most one store into mapped memory.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from svcd.values import pulse as page
from svcd.worker.beating import beat

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence


class Side(Protocol):
    """An asyncio loop in a thread of its own."""

    def soon(self, function: Callable[..., object], *args: Any) -> bool:
        """Call something there."""


class Threads(Protocol):
    """The threads of a service."""

    def stuck_since(self, now: float) -> float:
        """Since when none of them is of use; 0.0 while one is."""


class Living(Protocol):
    """A service that this process runs."""

    @property
    def side(self) -> Side | None:
        """Where its `async def` code runs; None for the main loop."""

    @property
    def threads(self) -> Threads:
        """Where its `def` code runs."""


class Pulse:
    """The page of this process; one that nobody sees when its file can't be made, as on a full disk."""

    def __init__(self, path: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._page = memoryview(_mapped(path)).cast("d")
        self._page[0] = page.FORMAT
        self._calls = 0
        self._busy_until = 0.0
        self._turns: dict[Side, float] = {}
        """When each asyncio loop last turned."""
        self._is_held_up = False
        """An asyncio loop has not turned between the last two beats."""
        self._last = 0.0
        """When the main loop last turned."""
        self._busy_later = 0.0
        """The latest deadline of the calls that came meanwhile. They are no reason to leave it alone: none of them can
        be what holds it up, and each of them would put off the end of a loop that is wedged."""

    def __repr__(self) -> str:
        return f"<Pulse [{self._calls} calls, until {self._busy_until:.1f}]>"

    def begin(self, deadline: float) -> None:
        """Note that a call was taken."""
        self._calls += 1
        if self._is_held_up:
            self._busy_later = max(self._busy_later, deadline)
        elif deadline > self._busy_until:
            self._busy_until = self._page[page.BUSY_UNTIL] = deadline

    def end(self) -> None:
        """Note that a call is over."""
        self._calls -= 1
        if not self._calls:
            self._busy_until = self._busy_later = self._page[page.BUSY_UNTIL] = 0.0

    def beat(self, every: float, services: Callable[[], Sequence[Living]]) -> Coroutine[Any, Any, None]:
        """Await this to note each turn of the loops, every so many seconds, until cancelled."""
        return beat(self, every, services)

    def turned(self, services: Sequence[Living]) -> None:
        """Note a turn of the main loop, and since when others have not turned."""
        now = self._page[page.TURNED] = self._clock()
        self._is_held_up = min(self._turns.values(), default=now) < self._last
        if not self._is_held_up and self._busy_later > self._busy_until:
            self._busy_until = self._page[page.BUSY_UNTIL] = self._busy_later
        self._last = now
        for side in {service.side for service in services if service.side is not None}:
            self._turns.setdefault(side, now)
            side.soon(self._turned_there, side)
        self._page[page.SIDE_TURNED] = min(self._turns.values(), default=0.0)
        stuck = [since for service in services if (since := service.threads.stuck_since(now))]
        self._page[page.STUCK_SINCE] = min(stuck, default=0.0)

    def _turned_there(self, side: Side) -> None:
        self._turns[side] = self._clock()
        self._page[page.SIDE_TURNED] = min(list(self._turns.values()))  # not only at the next beat, which is long until


def _mapped(path: str) -> mmap.mmap:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, page.SIZE)  # now, as a store that finds no room is a SIGBUS
            return mmap.mmap(descriptor, page.SIZE)
        finally:
            os.close(descriptor)
    except OSError as error:
        sys.stderr.write(f"svcd: this process can't be watched for its liveness: {path}: {error.strerror}\n")
        return mmap.mmap(-1, page.SIZE)
