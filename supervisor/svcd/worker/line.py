"""Calls that wait for a replica: one line, first come first served."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.worker.replica_end import ReplicaEnd


class Dismissed(Exception):  # noqa: N818  (no error of anybody's)
    """There is nothing to wait for any more."""


class _Waiter:
    __slots__ = ("api", "event", "replica")

    def __init__(self, api: str) -> None:
        self.api = api
        self.event = trio.Event()
        self.replica: ReplicaEnd | None = None


class Line:
    """Hands replicas to those who wait. `give_back` takes one that was handed to a call that has gone meanwhile."""

    def __init__(self, give_back: Callable[[ReplicaEnd], None]) -> None:
        self._give_back = give_back
        self.waiters: deque[_Waiter] = deque()
        """First come first."""

    def __len__(self) -> int:
        return len(self.waiters)

    def __repr__(self) -> str:
        return f"<Line [{len(self)} waiting]>"

    @property
    def api(self) -> str:
        """What the first in line wants to call."""
        return self.waiters[0].api

    async def wait(self, api: str, seconds: float, *, at_head: bool) -> ReplicaEnd | None:
        """Return the replica that was handed over, None when the time was up first. Raises Dismissed."""
        waiter = _Waiter(api)
        if at_head:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        try:
            with trio.move_on_after(max(0.0, seconds)):
                await waiter.event.wait()
        except BaseException:
            self._leave(waiter)
            raise
        if waiter.event.is_set() and waiter.replica is None:
            raise Dismissed
        if waiter.replica is None:
            self._leave(waiter)
        return waiter.replica

    def hand(self, replica: ReplicaEnd) -> None:
        """Give a replica, counted there already, to the first in line."""
        waiter = self.waiters.popleft()
        waiter.replica = replica
        waiter.event.set()

    def dismiss(self) -> None:
        """Send everybody away."""
        for waiter in self.waiters:
            waiter.event.set()
        self.waiters.clear()

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.replica is not None:
            self._give_back(waiter.replica)
        elif not waiter.event.is_set():
            self.waiters.remove(waiter)
