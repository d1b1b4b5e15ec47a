"""Watches the pulses of all replicas that are ready, or were: who is late is routed around, then replaced.

It asks nobody: a look is one read of a small file, so that hundreds of replicas cost next to nothing and one that is
wedged holds up nobody. What a look finds is judged in `svcd.policy.liveness`; how much of a silence was waiting for a
processor, in `svcd.policy.waiting`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import trio

from svcd.policy.lifecycle import State
from svcd.policy.liveness import Finding, Patience, is_late, is_suspect, look, may_end, needs_all_threads, unknown
from svcd.policy.waiting import Waits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from svcd.runtime.replica import Replica
    from svcd.values.pulse import Pulse
    from svcd.values.scheduling import ThreadTimes

CAUSE = "pulse"
"""Among the ailments of a replica: what this watch found."""
_SHORTEST = 0.05
"""Seconds between rounds at the least."""
_STALLED = 0.5
"""Seconds by which this watch may wake too late; if it is more, the machine stood still, and nobody had a turn yet."""
_REMEMBERED = 30.0
"""Seconds for which one that waited for a processor is still counted among those that do."""


class ThreadsOf(Protocol):
    """Reads the times of the main thread of a process, or of all its threads; empty where they are not known."""

    def __call__(self, pid: int, /, *, all_of_them: bool, with_state: bool) -> Mapping[int, ThreadTimes]: ...


@dataclass(slots=True)
class _Watched:
    """What is remembered of one process."""

    patience: Patience
    next_look: float = field(default=-math.inf)
    missed: float = 0.0
    """What the watch had missed by the last look."""
    waits: Waits | None = None
    """From when on the next look may find it late."""


class LivenessWatch:
    """Looks at all replicas.

    Args:
        replicas: Gives them all.
        pulse_of: Reads the pulse of a replica's process; None where there is none.
        state_of: State of a process by its pid, one letter.
        threads_of: Reads what its threads ran and waited.
        clock: CLOCK_MONOTONIC, the clock of the pulses.
    """

    def __init__(
        self,
        replicas: Callable[[], Iterable[Replica]],
        pulse_of: Callable[[Replica], Pulse | None],
        state_of: Callable[[int], str],
        threads_of: ThreadsOf,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._replicas = replicas
        self._pulse_of = pulse_of
        self._state_of = state_of
        self._threads_of = threads_of
        self._clock = clock
        self._watched: dict[str, _Watched] = {}
        self._missed = 0.0
        """Seconds by which rounds came late, all in all: this process was starved, or the machine stood still."""
        self._at = 0.0
        """Up to when they are counted."""
        self._starved: dict[str, tuple[float, float]] = {}
        """Those that would be late but for their waits: when that was seen last, and the longest wait in seconds."""

    def __repr__(self) -> str:
        """How many are watched."""
        return f"<LivenessWatch of {len(self._watched)} processes>"

    @property
    def starved(self) -> Mapping[str, float]:
        """The replicas that were silent of late since they waited for a processor, each with its longest wait (s)."""
        return {name: waited for name, (_, waited) in self._starved.items()}

    async def run(self) -> None:
        """Watch until cancelled."""
        self._at = trio.current_time()
        while True:
            pause = self._round(trio.current_time())
            if await self._pause(pause) > _STALLED:
                self._missed += pause
                await self._pause(pause)

    async def _pause(self, seconds: float) -> float:
        """Sleep; return by how much it was longer."""
        self._count_missed()
        due = self._at + seconds
        await trio.sleep_until(due)
        self._at = due
        return self._count_missed()

    def _count_missed(self) -> float:
        """Count the time that has passed unplanned: what looks took, in which others may have had the processor."""
        now = trio.current_time()
        passed = now - self._at
        self._missed += passed
        self._at = now
        return passed

    def _round(self, now: float) -> float:
        """Look at those whose time has come; return the seconds until the next one's has."""
        states = {State.READY, State.UNREADY}
        running = [each for each in self._replicas() if each.state in states and not each.is_given_up]
        self._watched = {
            replica.process_id: self._watched.get(replica.process_id)
            or _Watched(Patience(replica.spec.liveness.threshold), missed=self._missed)
            for replica in running
        }
        self._starved = {name: seen for name, seen in self._starved.items() if now - seen[0] < _REMEMBERED}
        for replica in running:
            watched = self._watched[replica.process_id]
            if watched.next_look <= now:
                watched.next_look = now + replica.spec.liveness.period
                self._count_missed()
                self._look(replica, watched)
        soonest = min((watched.next_look for watched in self._watched.values()), default=now + 1.0)
        return max(_SHORTEST, soonest - now)

    def _look(self, replica: Replica, watched: _Watched) -> None:
        now = self._clock()  # first: should this process have to wait now, the pulse is not older for it
        pulse = self._pulse_of(replica)
        if pulse is None:
            return
        finding = self._judge(replica, watched, pulse, now)
        if watched.patience.is_over(finding) and finding is not None:
            replica.ail(CAUSE, finding.reason)
        elif finding is None:
            replica.ail(CAUSE, "")
            if reason := replica.attempt.fatal:
                finding = Finding(reason, may_end(pulse, now))
        if finding is not None and finding.may_end and replica.attempt.ailments:
            replica.give_up(finding.reason, is_struck=finding.is_struck)

    def _judge(self, replica: Replica, watched: _Watched, pulse: Pulse, now: float) -> Finding | None:
        probe, pid = replica.spec.liveness, replica.pid
        before, watched.missed = watched.missed, self._missed
        if not pid or not is_suspect(pulse, now, probe):
            watched.waits = None
            return look(pulse, now, probe.timeout, "")
        late, everything = is_late(pulse, now, probe.timeout), needs_all_threads(pulse, now, probe.timeout)
        threads = self._threads_of(pid, all_of_them=everything, with_state=late or everything)
        waits = watched.waits = watched.waits or Waits(min(before, self._missed - unknown(pulse, now, probe)))
        excused = waits.look(pulse, now, pid, threads, missed=self._missed)
        finding = look(pulse, now, probe.timeout, self._state_of(pid) if late else "", excused)
        if late and finding is None:
            _, longest = self._starved.get(replica.name, (0.0, 0.0))
            self._starved[replica.name] = trio.current_time(), max(longest, excused.turned)
        return finding
