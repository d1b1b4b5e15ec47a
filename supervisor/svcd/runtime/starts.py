"""Turns at starting: loading many models at once takes longer than one after the other, and more memory.

A turn begins when all that a replica requires is ready and its `__init__` is about to run, and ends when it is ready or
is not starting any longer. Who waits holds no turn, so that two can't wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from svcd.runtime.replica import Replica


class Starts:
    """Who starts, and who waits for a turn, in the order of asking."""

    def __init__(self, most: int | None) -> None:
        """Take how many may start at the same time; None is any number."""
        self._most = most
        self._turns: set[Replica] = set()
        self._waiting: dict[Replica, trio.Event] = {}

    def __repr__(self) -> str:
        """How many start and how many wait."""
        return f"<Starts [{len(self._turns)} starting, {len(self._waiting)} waiting]>"

    def take(self, replica: Replica) -> bool:
        """Take a turn; False when it has to be waited for."""
        if self._most is not None and len(self._turns) >= self._most:
            return False
        self._turns.add(replica)
        return True

    async def turn(self, replica: Replica) -> None:
        """Wait for a turn, and take it."""
        if self.take(replica):
            return
        self._waiting[replica] = granted = trio.Event()
        names = ", ".join(sorted(other.name for other in self._turns))
        replica.waiting(f"waiting for its turn to start, after {names} (start_parallelism)")
        try:
            await granted.wait()
        finally:
            if self._waiting.get(replica) is granted:
                del self._waiting[replica]
        replica.waiting("")

    def over(self, replica: Replica) -> None:
        """End a turn, or the wait for one; of a replica that has none, nothing."""
        self._waiting.pop(replica, None)
        self._turns.discard(replica)
        for other, granted in list(self._waiting.items()):
            if not self.take(other):
                return
            del self._waiting[other]
            granted.set()
