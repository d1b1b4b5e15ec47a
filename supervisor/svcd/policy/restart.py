"""When to try a replica again: exponential backoff with full jitter, and a budget.

Full jitter is the form that spreads a herd best for the least work (Brooker, "Exponential Backoff and Jitter", 2015):
the delay is uniform between zero and the exponential ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

BASE = 0.1
"""Seconds; ceiling of the first delay. A single crash is followed by a new process almost at once."""
CAP = 30.0
"""Seconds; the ceiling never grows beyond this."""
BUDGET = 5
"""Failures in a row, without a spell of being ready between them, that make a replica `failed`."""
SPELL = 10.0
"""Seconds of being ready after which earlier failures are forgotten."""


@dataclass(frozen=True, slots=True)
class History:
    """What the budget remembers of one replica."""

    failures: int = 0
    """Failures in a row."""

    @property
    def spent(self) -> bool:
        """True when there is no further attempt."""
        return self.failures >= BUDGET

    def failed(self, ready_for: float | None, *, was_killed: bool = False) -> History:
        """Count a failure.

        Args:
            ready_for: Seconds the process had been ready, None when it never was.
            was_killed: Whether somebody killed or stopped it who was neither svcd nor a kernel in want of memory. What
                could serve until then has not failed of itself, so that striking it again and again never uses up its
                budget.
        """
        if ready_for is not None and (was_killed or ready_for >= SPELL):
            return replace(self, failures=1)
        return replace(self, failures=self.failures + 1)

    def delay(self, chance: float) -> float:
        """Seconds to wait before the next attempt. chance: uniform in [0, 1)."""
        return chance * min(CAP, BASE * 2.0 ** max(0, self.failures - 1))
