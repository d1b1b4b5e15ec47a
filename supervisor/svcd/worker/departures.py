"""The calls of a route as they leave and come back: with which replica, until when, and who is next in line.

Nothing here waits: see `route`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.worker.choice import Choice
from svcd.worker.line import Line
from svcd_ipc.calls import current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.worker.replica_end import ReplicaEnd


class Departures:
    """Counts the calls of one route at its replicas.

    Args:
        start: See `Choice`.
        default_timeout: Seconds for a call that has no other limit.
        clock: CLOCK_MONOTONIC in seconds.
    """

    def __init__(self, *, start: int, default_timeout: float, clock: Callable[[], float]) -> None:
        self.choice = Choice(start)
        self.line = Line(self.release)
        self.calls = 0
        """Calls that the budget for retries has yet to be told of."""
        self._waiters = self.line.waiters
        self._default_timeout = default_timeout
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Departures {self.choice} {self.line}>"

    def begin(
        self, api: str, args: Mapping[str, Any], deadline: float | None, trace: str | None
    ) -> tuple[ReplicaEnd | None, str, float, str | None, float]:
        """Return (replica, the api that the call is about, its deadline, its trace, the time now) of a call.

        The replica has counted it; None where none would take it, or others wait already.
        """
        now = self._clock()
        serving = current.get()
        if deadline is None:
            inherited = None if serving is None else serving.deadline
            deadline = now + self._default_timeout if inherited is None else inherited
        if not trace and serving is not None:
            trace = serving.trace
        asked = asked_for(api, args) if "." in api else api
        self.calls += 1
        return None if self._waiters else self.choice.take(asked, now), asked, deadline, trace, now

    def arrived(self, replica: ReplicaEnd, asked: str, start: float) -> None:
        """Note that a call which began at `start` was answered well."""
        replica.answered()
        if self.choice.is_needed:
            now = self._clock()
            self.choice.took(replica, asked, now - start, now)
        self.release(replica)

    def release(self, replica: ReplicaEnd) -> None:
        """Note that a call to a replica is over."""
        replica.give_back(self._clock())
        if self.choice.is_needed:
            self.choice.rested(replica)
        if self._waiters:
            self.dispatch()

    def dispatch(self) -> None:
        """Hand replicas that would take a call to those first in line."""
        while self._waiters and (replica := self.choice.take(self.line.api, self._clock())) is not None:
            self.line.hand(replica)


def asked_for(api: str, args: Mapping[str, Any]) -> str:
    """Return the api that a call is about, also where a reserved one carries it."""
    return str(args.get("api", api)) if "." in api else api
