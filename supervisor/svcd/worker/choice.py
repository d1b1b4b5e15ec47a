"""Which of a service's replicas gets the next call.

Law: the one that would be done with it first. That is the least loaded, where one that is n times slower than the
quickest counts as n times as loaded; of equals it is the one whose turn is longest ago.

Cost: an idle replica that is as quick as the others cannot be beaten, so the idle ones stand in the order of their
turns, and mostly the first of them is taken. All are compared only where none of those in front is such a one.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from math import inf
from typing import TYPE_CHECKING

from svcd.worker.replica_end import SLOWER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svcd.worker.replica_end import ReplicaEnd

LOOKS = 4
"""Idle replicas that are looked at before all are compared."""
BELIEVED = 0.05
"""Seconds for which the quickest pace is not looked up again; in that time a pace loses a thirtieth."""


class Choice:
    """Counts calls at the replicas that it chooses. Pure: time is an argument."""

    def __init__(self) -> None:
        self._replicas: list[ReplicaEnd] = []
        self.is_needed = False
        """Whether there is more than one replica, so that it matters how quick each is."""
        self._only: ReplicaEnd | None = None
        self._turns = 0
        self._idle: list[tuple[int, int, ReplicaEnd]] = []
        """A heap of (turn, place in the order of arrival, replica); who is not idle any more is found out in front."""
        self._arrivals = 0
        self._quickest: dict[str, tuple[float, float]] = {}
        """By api: the least pace of a replica, and until when that is believed."""

    def __repr__(self) -> str:
        return f"<Choice of {len(self._replicas)} replicas>"

    def update(self, replicas: Iterable[ReplicaEnd]) -> None:
        """Choose among these from now on."""
        self._replicas = list(replicas)
        self._only = self._replicas[0] if len(self._replicas) == 1 else None
        self.is_needed = self._only is None
        self._quickest.clear()
        self._idle.clear()
        for replica in self._replicas:
            replica.stands_by = False
            self.rested(replica)

    def take(self, api: str, now: float) -> ReplicaEnd | None:
        """Count a call at the replica that is best for it, and return that; None where none would take it."""
        best = self._only or self._idle_one(api, now) or self._best(api, now)
        if best is None or not best.take_if_open(now):
            return None
        self._count_turn(best)
        return best

    def rested(self, replica: ReplicaEnd) -> None:
        """Note that a replica may be idle now."""
        if replica.listed and not (replica.in_flight or replica.stands_by):
            replica.stands_by = True
            self._arrivals += 1
            heappush(self._idle, (replica.turn, self._arrivals, replica))

    def took(self, replica: ReplicaEnd, api: str, seconds: float, now: float) -> None:
        """Note how long a call took."""
        pace = replica.took(api, seconds, now)
        known = self._quickest.get(api)
        if known is not None and pace < known[0]:
            self._quickest[api] = pace, known[1]

    def _idle_one(self, api: str, now: float) -> ReplicaEnd | None:
        """Return the idle replica whose turn is longest ago, None where another one may be better.

        One that would not do loses its turn, so that it is not looked at for each call.
        """
        idle = self._idle
        looks = 0
        while idle and looks < LOOKS:
            turn, place, replica = idle[0]
            if replica.in_flight:
                replica.stands_by = False  # until it has rested
                heappop(idle)
            elif turn != replica.turn:
                heapreplace(idle, (replica.turn, place, replica))
            elif replica.is_open(now) and not replica.load(now) and not self._is_slow(replica, api, now):
                return replica
            else:
                looks += 1
                self._count_turn(replica)
                heapreplace(idle, (replica.turn, place, replica))
        return None

    def _count_turn(self, replica: ReplicaEnd) -> None:
        self._turns += 1
        replica.turn = self._turns

    def _is_slow(self, replica: ReplicaEnd, api: str, now: float) -> bool:
        quickest = self._quickest_pace(api, now)
        return quickest > 0 and replica.pace(api, now) >= SLOWER * quickest

    def _quickest_pace(self, api: str, now: float) -> float:
        """Return the shortest pace that is known of a replica; 0 where none is."""
        pace, until = self._quickest.get(api, (0.0, -inf))
        if now >= until:
            paces = [pace for replica in self._replicas if (pace := replica.pace(api, now)) > 0]
            pace = min(paces, default=0.0)
            if paces:  # else there may be no such api
                self._quickest[api] = pace, now + BELIEVED
        return pace

    def _best(self, api: str, now: float) -> ReplicaEnd | None:
        """Compare all."""
        best: ReplicaEnd | None = None
        least = (0.0, 0)
        quickest = self._quickest_pace(api, now)
        for replica in self._replicas:
            if replica.is_open(now):
                load: float = replica.load(now)
                if quickest > 0 and (times := replica.pace(api, now) / quickest) >= SLOWER:
                    load = (load + 1) * times - 1
                rank = (load, replica.turn)
                if best is None or rank < least:
                    best, least = replica, rank
        return best
