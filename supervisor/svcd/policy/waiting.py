"""How much of a silence is not the process's own: it waited for a processor, or nobody looked. Pure.

Who waits for a processor can give no sign of life, however well it is, and a new process in its place would wait as
long. So silence counts only as far as a process ran or slept.

The kernel adds a wait to a thread's account when the thread gets its turn, not before (`sched_info_arrive` in
kernel/sched/stats.h). Of a wait that goes on it shows that the thread is runnable, has had no further turn, and has not
run. Both are the same where a quota of the control group keeps a thread from running.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.values.pulse import Pulse
    from svcd.values.scheduling import ThreadTimes

MOST = 60.0
"""Seconds of one silence that are excused at the most. An endless loop on a machine that has nothing left for it, which
looks like any process that waits, is noticed so much later."""


class Excused(NamedTuple):
    """Seconds of the silence of each sign of life that do not count."""

    turned: float = 0.0
    side_turned: float = 0.0
    stuck_since: float = 0.0


NOTHING = Excused()


class _Thread(NamedTuple):
    """What is remembered of a thread."""

    times: ThreadTimes
    """What was read last."""
    read: float
    """When that was."""
    at: float
    """From when on it is taken to have waited where it has had no turn since."""
    ran: float
    """What it had run by then."""
    waited: float
    """What it has waited in all; of a wait that goes on the part that was seen."""

    @classmethod
    def first(cls, times: ThreadTimes, now: float) -> _Thread:
        """Begin to know it."""
        return cls(times, now, now, times.ran, times.waited)

    def later(self, times: ThreadTimes, now: float) -> _Thread:
        """Know what it has waited by now."""
        at, ran = self.at, self.ran
        if times.turns != self.times.turns:
            at, ran = now - self._since_turn(times, now), times.ran
        goes_on = now - at - (times.ran - ran) if times.is_runnable else 0.0
        return _Thread(times, now, at, ran, max(self.waited, times.waited + goes_on))

    def _since_turn(self, times: ThreadTimes, now: float) -> float:
        """Guess for how long it has waited since a turn that nobody saw.

        One that waits longer than it runs has waited for all that it did not run. Of others it is not known: a loop
        that sleeps again and again may be seen just when it runs.
        """
        ran, waited = times.ran - self.times.ran, times.waited - self.times.waited
        before_turn = max(0.0, times.waited - self.waited)  # the rest of that was seen by the last look
        return max(0.0, now - self.read - ran - before_turn) if waited > ran else 0.0


class _Lost(NamedTuple):
    """Seconds that do not count, of all looks so far."""

    missed: float = 0.0
    """In which nobody could look."""
    waited: float = 0.0
    """Besides, for a processor."""


@dataclass(slots=True)
class _Sign:
    """One sign of life: when it was given last, and what had been lost by the look before."""

    instant: float = 0.0
    before: _Lost = field(default=_Lost())

    def excused(self, instant: float, before: _Lost, lost: _Lost, now: float) -> float:
        if instant != self.instant:
            self.instant, self.before = instant, before
        if not instant:
            return 0.0
        waited = min(lost.waited - self.before.waited, MOST)
        return max(0.0, min(lost.missed - self.before.missed + waited, now - instant))


class Waits:
    """What one process has waited, look by look, from the look on that may be the last before it is late.

    missed: Seconds in which whoever looks could not, all in all, by the look before.
    """

    def __init__(self, missed: float = 0.0) -> None:
        self._main = _Lost(missed)
        """Of its main thread, which its main loop is on."""
        self._longest = _Lost(missed)
        """Of the thread that waited the longest, from look to look."""
        self._threads: dict[int, _Thread] = {}
        self._turned, self._side_turned, self._stuck_since = _Sign(), _Sign(), _Sign()

    def __repr__(self) -> str:
        """What it waited since it is looked at."""
        return f"<Waits {self._main.waited:.1f} s, missed {self._main.missed:.1f} s>"

    def look(self, pulse: Pulse, now: float, pid: int, threads: Mapping[int, ThreadTimes], *, missed: float) -> Excused:
        """Take a look into account, and return what is excused by now.

        Args:
            pulse: What the process last noted.
            now: CLOCK_MONOTONIC seconds, from before the pulse and the threads were read.
            pid: Of the process, which is the id of its main thread.
            threads: By their ids; only those that matter, and none as long as nothing is amiss.
            missed: Seconds in which whoever looks could not, all in all; it only grows.
        """
        main, longest = self._main, self._longest
        grown = self._grown(now, threads)
        unseen = missed - main.missed
        self._main = _Lost(missed, main.waited + max(0.0, grown.get(pid, 0.0) - unseen))
        self._longest = _Lost(missed, longest.waited + max(0.0, max(grown.values(), default=0.0) - unseen))
        return Excused(
            self._turned.excused(pulse.turned, main, self._main, now),
            self._side_turned.excused(pulse.side_turned, longest, self._longest, now),
            self._stuck_since.excused(pulse.stuck_since, longest, self._longest, now),
        )

    def _grown(self, now: float, threads: Mapping[int, ThreadTimes]) -> dict[int, float]:
        """Return by how much more each thread has waited than was known of it."""
        before = self._threads
        seen = {thread: before.get(thread) or _Thread.first(times, now) for thread, times in threads.items()}
        # Those that are not shown now are forgotten: nobody will know when they waited what they have waited meanwhile.
        self._threads = {thread: seen[thread].later(times, now) for thread, times in threads.items()}
        return {thread: then.waited - seen[thread].waited for thread, then in self._threads.items()}
