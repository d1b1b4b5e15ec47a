"""From what was counted to what is told: rates and percentiles. Pure."""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9)


@dataclass(slots=True)
class Tally:
    """What a run has counted so far."""

    latencies: array[float] = field(default_factory=lambda: array("d"))
    """Seconds, one per call that was answered."""
    errors: Counter[str] = field(default_factory=Counter)
    """Calls that failed, by type of error."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first message of each type."""
    items: int = 0
    """Of streams."""
    behind: float = 0.0
    """Seconds by which the load itself was late at most: an open loop that its own process cannot keep."""

    def failed(self, error: Exception) -> None:
        """Count a call that was not answered."""
        kind = type(error).__name__
        self.errors[kind] += 1
        self.examples.setdefault(kind, str(error).partition("\n")[0])


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked for: `rate` calls per second whatever comes back, or `in_flight` calls at a time."""

    seconds: float
    warm_up: float
    """Seconds before, of which nothing is counted."""
    rate: float | None = None
    in_flight: int = 1

    def __str__(self) -> str:
        shape = f"{self.in_flight} in flight" if self.rate is None else f"{self.rate:g} calls/s"
        return f"{shape} for {self.seconds:g} s after {self.warm_up:g} s of warm-up"


def percentile(ordered: array[float] | list[float], percent: float) -> float:
    """Return the least value that `percent` of the sorted values do not exceed (the nearest rank)."""
    rank = -int(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, min(len(ordered), rank) - 1)]


def summary(load: Load, tally: Tally, elapsed: float) -> dict[str, Any]:
    """Return what `svcd bench --json` prints of the load; latencies in milliseconds, None when no call was answered."""
    ordered = sorted(tally.latencies)
    failed = sum(tally.errors.values())
    return {
        "loop": "closed" if load.rate is None else "open",
        "rate": load.rate,
        "in_flight": load.in_flight if load.rate is None else None,
        "seconds": elapsed,
        "calls": len(ordered) + failed,
        "answered": len(ordered),
        "answered_per_second": len(ordered) / elapsed if elapsed else 0.0,
        "items": tally.items,
        "errors": {kind: {"calls": n, "first": tally.examples[kind]} for kind, n in tally.errors.most_common()},
        "latency_ms": _latencies(ordered) if ordered else None,
        "behind_ms": tally.behind * 1e3,
    }


def _latencies(ordered: list[float]) -> dict[str, float]:
    told = {f"p{percent:g}": percentile(ordered, percent) * 1e3 for percent in PERCENTS}
    mean = sum(ordered) / len(ordered)
    return {"min": ordered[0] * 1e3, "mean": mean * 1e3, **told, "max": ordered[-1] * 1e3}
