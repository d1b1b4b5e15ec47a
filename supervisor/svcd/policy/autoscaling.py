"""How many replicas a service should have for the load that its callers see.

Wanted is what spreads the calls in flight and waiting so that each replica has its target of them: the rule of the
Kubernetes HorizontalPodAutoscaler for a metric with an average value per pod. Up at once, as calls wait already; down
only to the most that was wanted within a window, so that a lull between two bursts costs no start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import ceil, inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one service allows."""

    least: int
    most: int
    target: int
    """Calls per replica, in flight and waiting."""
    window: float
    """Seconds without need before a replica is given up."""


@dataclass(frozen=True, slots=True)
class Decision:
    """How many replicas there should be from now on."""

    replicas: int
    reason: str
    """The numbers that it rests on."""


def wanted(calls: int, bounds: Bounds) -> int:
    """Return how many replicas that many calls need, within the bounds."""
    return min(bounds.most, max(bounds.least, ceil(calls / bounds.target)))


@dataclass(slots=True)
class _Need:
    """What was needed from one report to the next."""

    replicas: int
    calls: int
    end: float = inf
    """When it was over; inf for what is needed now."""


class Scaler:
    """The needs of one service; instants are seconds of any clock that goes forward."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._needs: deque[_Need] = deque((_Need(bounds.least, 0),))
        """Those of the window that no later one exceeds: replicas fall from first to last, which is needed now."""

    def __repr__(self) -> str:
        return f"<Scaler {self.bounds.least} to {self.bounds.most} [{len(self._needs)} needs in its window]>"

    @property
    def needed(self) -> int:
        """Replicas that are needed now."""
        return self._needs[-1].replicas

    @property
    def kept(self) -> int:
        """The most replicas that were needed within the window."""
        return self._needs[0].replicas

    @property
    def why_needed(self) -> str:
        """What `needed` rests on."""
        return f"{_calls(self._needs[-1].calls)} in flight and waiting, {self.bounds.target} per replica"

    @property
    def why_kept(self) -> str:
        """What `kept` rests on."""
        lull = f"at most {_calls(self._needs[0].calls)} in flight and waiting for {self.bounds.window:g} s"
        return f"{lull}, {self.bounds.target} per replica"

    @property
    def next_look(self) -> float:
        """When `kept` changes with no news; inf when time alone changes nothing."""
        return self._needs[0].end + self.bounds.window

    def note(self, calls: int, now: float) -> None:
        """Take note of the calls in flight and waiting from now on."""
        needs, need = self._needs, _Need(wanted(calls, self.bounds), calls)
        needs[-1].end = now
        self.pass_by(now)
        while needs and needs[-1].replicas <= need.replicas:
            needs.pop()
        needs.append(need)

    def pass_by(self, now: float) -> None:
        """Forget what is beyond the window."""
        while self._needs and self._needs[0].end + self.bounds.window <= now:
            self._needs.popleft()


def decide(scalers: Sequence[Scaler], replicas: int) -> Decision | None:
    """Return what to change for services that share each replica; None for nothing."""
    most = max(scalers, key=lambda scaler: scaler.needed)
    if most.needed > replicas:
        return Decision(most.needed, most.why_needed)
    most = max(scalers, key=lambda scaler: scaler.kept)
    return Decision(most.kept, most.why_kept) if most.kept < replicas else None


def _calls(count: int) -> str:
    return "1 call" if count == 1 else f"{count} calls"
