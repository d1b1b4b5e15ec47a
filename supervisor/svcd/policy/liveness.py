"""Whether a replica that runs is well, by its pulse: what is routed around, and what may be ended. Pure.

A replica that gives no sign of life may be wedged for ever, or hold the GIL in a long call that is wanted. Nothing
outside can tell the two apart, but for one thing: after the deadlines of its calls nobody waits for it. Callers are
told to route around it as soon as it is late, and it is ended only when none of its calls is within its deadline.

Time in which it could not have given a sign of life does not count (`svcd.policy.waiting`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from svcd.policy.waiting import NOTHING, Excused

if TYPE_CHECKING:
    from svcd.values.pulse import Pulse
    from svcd.values.specs import Probe

STOPPED = "T"
"""State of a process that a signal has stopped, see proc_pid_stat(5)."""
TRACED = "t"
"""State of a process that a debugger has stopped."""
_UNKNOWN = 0.75
"""The part of the timeout that may have passed when the first look at the times of its threads is taken."""
_TOLD = (50, 20, 10, 5, 2, 1, 0.5, 0.2)
"""Seconds of waiting that are told, in steps: each new reason is an event."""


class Finding(NamedTuple):
    """What one look found wrong."""

    reason: str
    may_end: bool
    """No call would be lost that is still wanted."""
    is_struck: bool = False
    """It was done to the process by a signal: it has not failed of itself."""


@dataclass(slots=True)
class Patience:
    """Failing looks in a row."""

    threshold: int
    failures: int = 0

    def is_over(self, finding: Finding | None) -> bool:
        """Count a look; True when it is one failing look too many."""
        self.failures = self.failures + 1 if finding else 0
        return self.failures >= self.threshold


def look(pulse: Pulse, now: float, timeout: float, process_state: str, excused: Excused = NOTHING) -> Finding | None:
    """Return what is wrong with a process, None when nothing is.

    Args:
        pulse: What it last noted.
        now: CLOCK_MONOTONIC seconds.
        timeout: Seconds that a loop may be held up.
        process_state: One letter, as /proc has it; asked for only when it matters, so "" is fine for a live pulse.
        excused: Seconds that do not count.
    """
    # Reasons stay the same from look to look: each new one is an event.
    if now - pulse.turned - excused.turned > timeout:
        late = f"no sign of life for over {timeout:g} s{_besides(excused.turned)}"
        if process_state == STOPPED:  # what is stopped finishes nothing: its calls are better lost than kept waiting
            return Finding(f"{late}: the process is stopped by a signal", may_end=True, is_struck=True)
        if process_state == TRACED:
            return Finding(f"{late}: a debugger holds it", may_end=False)
        return _held(pulse, now, f"{late}: its event loop does not turn, or the GIL is held")
    if pulse.side_turned and now - pulse.side_turned - excused.side_turned > timeout:
        besides = _besides(excused.side_turned)
        return _held(pulse, now, f"its asyncio loop has not turned for over {timeout:g} s{besides}")
    if pulse.stuck_since and now - pulse.stuck_since - excused.stuck_since > timeout:
        return _held(pulse, now, "every thread is stuck in a call whose deadline has passed")
    return None


def is_late(pulse: Pulse, now: float, timeout: float) -> bool:
    """Whether `look` needs to know the state of the process."""
    return now - pulse.turned > timeout


def is_suspect(pulse: Pulse, now: float, probe: Probe) -> bool:
    """Whether the next look may find it late, so that the times of its threads are worth reading from now on."""
    return _silence(pulse, now) + probe.period > _UNKNOWN * probe.timeout


def unknown(pulse: Pulse, now: float, probe: Probe) -> float:
    """Return the seconds of a silence that do not count where this look is the first at the times of its threads.

    None, as a rule. A process that has just become ready may be looked at for the first time when it is late already.
    """
    return max(0.0, _silence(pulse, now) - _UNKNOWN * probe.timeout)


def _silence(pulse: Pulse, now: float) -> float:
    return now - min(pulse.turned, pulse.side_turned or now, pulse.stuck_since or now)


def needs_all_threads(pulse: Pulse, now: float, timeout: float) -> bool:
    """Whether others than the main thread may be what is late."""
    return bool(pulse.stuck_since or (pulse.side_turned and now - pulse.side_turned > timeout / 2))


def beat_of(probe: Probe) -> float:
    """Return the seconds from one beat of a worker to the next.

    Each wakes the process, so an idle one beats no more often than it must. A beat may be late by half of the timeout,
    and where there is time by a second, before a look fails: work that the loop has to do comes first.
    """
    often = min(probe.period, probe.timeout) / 2
    return min(probe.timeout / 2, max(probe.timeout - 1.0, often))


def may_end(pulse: Pulse, now: float) -> bool:
    """Whether no call in it is within its deadline."""
    return pulse.busy_until < now


def _besides(waited: float) -> str:
    return next((f", besides over {step:g} s of waiting for a processor" for step in _TOLD if waited > step), "")


def _held(pulse: Pulse, now: float, reason: str) -> Finding:
    if may_end(pulse, now):
        return Finding(reason, may_end=True)
    return Finding(f"{reason}; left alone while a call is within its deadline", may_end=False)
