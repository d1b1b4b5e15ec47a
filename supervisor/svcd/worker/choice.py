"""Which of a service's replicas gets the next call.

Law: the one that would be done with it first. That is the least loaded, where one that is n times slower than the
quickest, by more than a cold replica costs, counts as n times as loaded. Of idle equals it is the *warmest*: the one
that answered last. Its code and data are still in the processor's caches, and it sleeps less deeply than the others,
which stay idle. Of equals that have calls it is the one whose turn is longest ago.

Warmth has to be earned: whoever is given a call stands last until it has answered well. So a replica that fails at
once, and is idle for that reason, does not draw the calls to itself, and where all fail they take turns.

What is known of the others grows old meanwhile. So a new one is tried first of all, and once in a while a call goes to
the one whose turn is longest ago, which then is the warmest. That is also what parts two callers who like the same one.

Cost: the idle ones stand in that order, and mostly the first of them is taken. All are compared only where none of
those in front is idle in the eyes of other callers too, and as quick as the others.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING

from svcd.worker.replica_end import times_slower

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svcd.worker.replica_end import ReplicaEnd

LOOKS = 4
"""Idle replicas that are looked at before all are compared."""
BELIEVED = 0.05
"""Seconds for which the quickest pace is not looked up again."""
STRAY = 1.0
"""Seconds after which a call goes to the replica whose turn is longest ago."""


class Choice:
    """Counts calls at the replicas that it chooses. Pure: time is an argument.

    `start`: which of the new replicas is tried first. Callers that have different ones grow warm to different replicas.
    """

    def __init__(self, start: int = 0) -> None:
        self._start = start
        self._replicas: list[ReplicaEnd] = []
        self.is_needed = False
        """Whether there is more than one replica, so that it matters how quick each is."""
        self._only: ReplicaEnd | None = None
        self._turns = 0
        self._idle: OrderedDict[ReplicaEnd, None] = OrderedDict()
        """By place. Who is not idle any more, as a call got there otherwise, is found out in front."""
        self._has_new = False
        """Whether some of them may have had no turn yet."""
        self._stray_at = -inf
        """When a call may next go to the one whose turn is longest ago."""
        self._quickest: dict[str, tuple[float, float]] = {}
        """By api: the least pace of a replica, and until when that is believed."""

    def __repr__(self) -> str:
        return f"<Choice of {len(self._replicas)} replicas>"

    def update(self, replicas: Iterable[ReplicaEnd]) -> None:
        """Choose among these from now on."""
        listed = list(replicas)
        start = self._start % len(listed) if listed else 0
        self._replicas = listed[start:] + listed[:start]
        self._only = listed[0] if len(listed) == 1 else None
        self.is_needed = self._only is None
        self._quickest.clear()
        self._has_new = any(not replica.turn for replica in listed)
        idle = [replica for replica in self._replicas if not replica.in_flight]
        self._idle = OrderedDict.fromkeys(sorted(idle, key=_place))

    def take(self, api: str, now: float) -> ReplicaEnd | None:
        """Count a call at the replica that is best for it, and return that; None where none would take it."""
        best = self._only
        if best is None:
            if self._has_new or now >= self._stray_at:
                best = self._longest_ago(api, now)
            best = best or self._idle_one(api, now) or self._best(api, now)
        if best is None or not best.take_if_open(now):
            return None
        self._turns += 1
        best.turn = best.place = self._turns
        self._idle.pop(best, None)
        return best

    def rested(self, replica: ReplicaEnd) -> None:
        """Note that a replica may be idle now."""
        if replica.listed and not replica.in_flight:
            self._turns += 1  # they stand here by when they rested, and so has their place to say
            replica.place = self._turns if replica.place >= 0 else -self._turns
            self._idle[replica] = None
            self._idle.move_to_end(replica, last=replica.place > 0)

    def took(self, replica: ReplicaEnd, api: str, seconds: float, now: float) -> None:
        """Note that a replica has answered a call well, and how long that took."""
        pace = replica.took(api, seconds, now)
        self._turns += 1
        replica.place = -self._turns
        known = self._quickest.get(api)
        if known is not None and pace < known[0]:
            self._quickest[api] = pace, known[1]

    def _idle_one(self, api: str, now: float) -> ReplicaEnd | None:
        """Return the first of the idle replicas, None where another one may be better.

        One that would not do loses its place, so that it is not looked at for each call.
        """
        looks = 0
        while self._idle and looks < LOOKS:
            replica = next(iter(self._idle))
            if replica.in_flight:
                del self._idle[replica]  # until it has rested
            elif replica.is_open(now) and not replica.load(now) and not self._is_slow(replica, api, now):
                return replica
            else:
                looks += 1
                self._turns += 1
                replica.place = self._turns
                self._idle.move_to_end(replica)
        return None

    def _longest_ago(self, api: str, now: float) -> ReplicaEnd | None:
        """Return the replica whose turn is longest ago, of those that are idle and not known to be slow.

        None where there is no new one, and the time has not come to try another.
        """
        fit = [
            replica
            for replica in self._replicas
            if not replica.load(now) and replica.is_open(now) and not self._is_slow(replica, api, now)
        ]
        found = min(fit, key=_turn, default=None)
        if found is None or found.turn:
            self._has_new = False
            if now < self._stray_at:
                return None
        self._stray_at = now + STRAY
        return found

    def _is_slow(self, replica: ReplicaEnd, api: str, now: float) -> bool:
        return times_slower(replica.pace(api, now), self._quickest_pace(api, now)) > 1.0

    def _quickest_pace(self, api: str, now: float) -> float:
        """Return the shortest pace that is known of a replica; 0 where none is."""
        pace, until = self._quickest.get(api, (0.0, -inf))
        if now >= until:
            paces = [pace for replica in self._replicas if (pace := replica.measured(api, now)) > 0]
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
                load = (replica.load(now) + 1) * times_slower(replica.pace(api, now), quickest) - 1
                rank = (load, replica.turn if load else replica.place)
                if best is None or rank < least:
                    best, least = replica, rank
        return best


def _place(replica: ReplicaEnd) -> int:
    return replica.place


def _turn(replica: ReplicaEnd) -> int:
    return replica.turn
