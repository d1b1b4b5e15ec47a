"""What a start has come to: the app is ready, or something in it cannot become so.

Law: ready is said of what is, not of what was. A service that has been ready and is down again holds it up, and so does
one that has failed before, until it has been ready for a while: a program whose start is its readiness looks ready in
every turn of its crash loop.

A judgement looks at every replica, so that there is one for all that changes in a turn of the loop, not one for each
change of a thousand.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from svcd.policy.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service

STEADY = 1.0
"""Seconds that a replica which has failed before has to be ready to count."""
_OVER = frozenset({State.READY, State.DONE})
_GIVEN_UP = frozenset({State.FAILED, State.STOPPED})


class Outcome:
    """Of one start, or of one take-over."""

    def __init__(self, units: Mapping[str, Service], needed: set[str]) -> None:
        """needed: names of the units that the app cannot be ready without."""
        self._units = units
        self._needed = needed
        self.ready = trio.Event()
        """Set once all that is needed is ready, and replaced where that was called for."""
        self.broken = trio.Event()
        """Set when something failed before that."""
        self.failure = ""
        """What that was, and why."""
        self.replacing: dict[Replica, int] = {}
        """Replicas whose process is to be replaced, and the generation of that one."""
        self._ready_since: dict[Replica, float] = {}
        self._news = trio.Event()
        self._next_look = math.inf
        """When somebody may have been ready for long enough."""

    def __repr__(self) -> str:
        """How far it is."""
        if self.ready.is_set():
            return "<Outcome: ready>"
        return f"<Outcome: {'broken' if self.broken.is_set() else 'starting'}, {len(self.replacing)} to be replaced>"

    async def run(self) -> None:
        """Judge what has changed, and again while somebody has only to stay ready; return once the app is ready."""
        while not self.ready.is_set():
            with trio.move_on_at(self._next_look):
                await self._news.wait()
            self._news, self._next_look = trio.Event(), math.inf
            self._judge()

    def changed(self, replica: Replica) -> None:
        """Take note of a change of a replica."""
        if replica.state is not State.READY:
            self._ready_since.pop(replica, None)
        elif replica not in self._ready_since:
            self._ready_since[replica] = trio.current_time()
        before = self.replacing.get(replica)
        is_replaced = before is not None and replica.generation > before and replica.state in _OVER
        if is_replaced or replica.state in _GIVEN_UP:
            self.replacing.pop(replica, None)
        self._news.set()

    def give_up(self, reason: str) -> None:
        """Say that not all of it can become ready. The first reason counts."""
        self.failure = self.failure or reason
        self.broken.set()

    def keep(self) -> None:
        """Replace no more: what has not been replaced yet stays as it is."""
        self.replacing.clear()
        self._news.set()

    def _judge(self) -> None:
        needed = [self._units[name] for name in sorted(self._needed)]
        for unit in needed:
            if unit.state == "failed":
                self.give_up(unit.reason)
        if self.broken.is_set() and any(each.state is State.FAILED for unit in needed for each in unit.replicas):
            return
        if not self.replacing and all(map(self._is_up, needed)):
            self.ready.set()

    def _is_up(self, unit: Service) -> bool:
        if not unit.was_ready.is_set() or unit.state not in ({"ready", "done"} if unit.wanted else {"stopped"}):
            return False
        if not unit.ready or any(map(self._is_steady, unit.ready)):
            return True
        self._next_look = trio.current_time() + STEADY
        return False

    def _is_steady(self, replica: Replica) -> bool:
        since = self._ready_since.get(replica)
        return not replica.failures or (since is not None and trio.current_time() - since >= STEADY)
