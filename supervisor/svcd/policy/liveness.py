"""Whether a replica that runs is well, by its pulse: what is routed around, and what may be ended. Pure.

A replica that gives no sign of life may be wedged for ever, or hold the GIL in a long call that is wanted. Nothing
outside can tell the two apart, but for one thing: after the deadlines of its calls nobody waits for it. Callers are
told to route around it as soon as it is late, and it is ended only when none of its calls is within its deadline.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from svcd.values.pulse import Pulse

STOPPED = "T"
"""State of a process that a signal has stopped, see proc_pid_stat(5)."""
TRACED = "t"
"""State of a process that a debugger has stopped."""


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


def look(pulse: Pulse, now: float, timeout: float, process_state: str) -> Finding | None:
    """Return what is wrong with a process, None when nothing is.

    Args:
        pulse: What it last noted.
        now: CLOCK_MONOTONIC seconds.
        timeout: Seconds that a loop may be held up.
        process_state: One letter, as /proc has it; asked for only when it matters, so "" is fine for a live pulse.
    """
    # Reasons stay the same from look to look: each new one is an event.
    if now - pulse.turned > timeout:
        late = f"no sign of life for over {timeout:g} s"
        if process_state == STOPPED:  # what is stopped finishes nothing: its calls are better lost than kept waiting
            return Finding(f"{late}: the process is stopped by a signal", may_end=True, is_struck=True)
        if process_state == TRACED:
            return Finding(f"{late}: a debugger holds it", may_end=False)
        return _held(pulse, now, f"{late}: its event loop does not turn, or the GIL is held")
    if pulse.side_turned and now - pulse.side_turned > timeout:
        return _held(pulse, now, f"its asyncio loop has not turned for over {timeout:g} s")
    if pulse.stuck_since and now - pulse.stuck_since > timeout:
        return _held(pulse, now, "every thread is stuck in a call whose deadline has passed")
    return None


def is_late(pulse: Pulse, now: float, timeout: float) -> bool:
    """Whether `look` needs to know the state of the process."""
    return now - pulse.turned > timeout


def may_end(pulse: Pulse, now: float) -> bool:
    """Whether no call in it is within its deadline."""
    return pulse.busy_until < now


def _held(pulse: Pulse, now: float, reason: str) -> Finding:
    if may_end(pulse, now):
        return Finding(reason, may_end=True)
    return Finding(f"{reason}; left alone while a call is within its deadline", may_end=False)
