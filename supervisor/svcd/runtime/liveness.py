"""Watches the pulses of all replicas that are ready, or were: who is late is routed around, then replaced.

It asks nobody: a look is one read of a small file, so that hundreds of replicas cost next to nothing and one that is
wedged holds up nobody. What a look finds is judged in `svcd.policy.liveness`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from svcd.policy.lifecycle import State
from svcd.policy.liveness import Finding, Patience, is_late, look, may_end

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from svcd.runtime.replica import Replica
    from svcd.values.pulse import Pulse

CAUSE = "pulse"
"""Among the ailments of a replica: what this watch found."""
_SHORTEST = 0.05
"""Seconds between rounds at the least."""
_STALLED = 0.5
"""Seconds by which this watch may wake too late; if it is more, the machine was stalled, and everybody is late."""


@dataclass(slots=True)
class _Watched:
    """What is remembered of one process."""

    patience: Patience
    next_look: float = field(default=-math.inf)


class LivenessWatch:
    """Looks at all replicas.

    Args:
        replicas: Gives them all.
        pulse_of: Reads the pulse of a replica's process; None where there is none.
        state_of: State of a process by its pid, one letter.
        clock: CLOCK_MONOTONIC, the clock of the pulses.
    """

    def __init__(
        self,
        replicas: Callable[[], Iterable[Replica]],
        pulse_of: Callable[[Replica], Pulse | None],
        state_of: Callable[[int], str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas = replicas
        self._pulse_of = pulse_of
        self._state_of = state_of
        self._clock = clock
        self._watched: dict[str, _Watched] = {}

    def __repr__(self) -> str:
        """How many are watched."""
        return f"<LivenessWatch of {len(self._watched)} processes>"

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            pause = self._round()
            due = trio.current_time() + pause
            await trio.sleep_until(due)
            if trio.current_time() - due > _STALLED:
                await trio.sleep(pause)

    def _round(self) -> float:
        """Look at those whose time has come; return the seconds until the next one's has."""
        now = trio.current_time()
        states = {State.READY, State.UNREADY}
        running = [each for each in self._replicas() if each.state in states and not each.is_given_up]
        self._watched = {
            replica.process_id: self._watched.get(replica.process_id)
            or _Watched(Patience(replica.spec.liveness.threshold))
            for replica in running
        }
        for replica in running:
            watched = self._watched[replica.process_id]
            if watched.next_look <= now:
                watched.next_look = now + replica.spec.liveness.period
                self._look(replica, watched.patience)
        soonest = min((watched.next_look for watched in self._watched.values()), default=now + 1.0)
        return max(_SHORTEST, soonest - now)

    def _look(self, replica: Replica, patience: Patience) -> None:
        pulse = self._pulse_of(replica)
        if pulse is None:
            return
        now, timeout = self._clock(), replica.spec.liveness.timeout
        letter = self._state_of(replica.pid) if replica.pid and is_late(pulse, now, timeout) else ""
        finding = look(pulse, now, timeout, letter)
        if patience.is_over(finding) and finding is not None:
            replica.ail(CAUSE, finding.reason)
        elif finding is None:
            replica.ail(CAUSE, "")
            if reason := replica.attempt.fatal:
                finding = Finding(reason, may_end(pulse, now))
        if finding is not None and finding.may_end and replica.attempt.ailments:
            replica.give_up(finding.reason, is_struck=finding.is_struck)
