"""Who may start: a replica waits until all that it requires has been ready, and then for its turn.

Turns are there because loading many models at once takes longer than one after the other, and more memory. A turn
begins when `__init__` is about to run, or a program is to be started, and ends when the replica is ready or is not
starting any longer. Who waits holds no turn, so that two can't wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from svcd.policy.order import required
from svcd.values.specs import INGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service
    from svcd.values.specs import ServiceSpec


class Starts:
    """Who starts, and who waits for a turn, in the order of asking."""

    def __init__(self, services: Mapping[str, Service], most: int | None) -> None:
        """Take the units by the names of their services, and how many may start at a time; None is any number."""
        self._services = services
        self._most = most
        self._turns: set[Replica] = set()
        self._waiting: dict[Replica, trio.Event] = {}

    def __repr__(self) -> str:
        """How many start and how many wait."""
        return f"<Starts [{len(self._turns)} starting, {len(self._waiting)} waiting]>"

    def take(self, replica: Replica) -> bool:
        """Let a replica start that need not wait, neither for others nor for its turn; False when it has to."""
        return not self._missing(replica.spec) and self._take_turn(replica)

    async def wait(self, replica: Replica) -> None:
        """Return once a replica may start."""
        while missing := self._missing(replica.spec):
            replica.waiting(f"waiting for {', '.join(missing)}")
            await self._services[missing[0]].was_ready.wait()
        replica.waiting("")
        if not self._take_turn(replica):
            await self._wait_for_turn(replica)

    def _missing(self, spec: ServiceSpec) -> list[str]:
        return [name for name in sorted(required(spec)) if not self._services[name].was_ready.is_set()]

    def _take_turn(self, replica: Replica) -> bool:
        if not _takes_turns(replica.spec):
            return True
        if self._most is not None and len(self._turns) >= self._most:
            return False
        self._turns.add(replica)
        return True

    async def _wait_for_turn(self, replica: Replica) -> None:
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
        while self._waiting:
            first = next(iter(self._waiting))
            if not self._take_turn(first):
                return
            self._waiting.pop(first).set()


def _takes_turns(spec: ServiceSpec) -> bool:
    """Whether its start is one of those that `start_parallelism` counts: the ingress and oneshots load no model."""
    return spec.name != INGRESS and not (spec.command and spec.command.is_oneshot)
