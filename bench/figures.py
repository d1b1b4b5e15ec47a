"""From samples to figures: percentiles, rates, and one row per thing measured over all rounds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

QUANTILES = (0.1, 1, 5, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.99)
"""Percent. What a distribution is kept as."""


@dataclass(frozen=True, slots=True)
class Key:
    """What was measured."""

    contender: str
    place: str
    what: str
    in_flight: int = 1
    size: int = 0
    target: str = ""


@dataclass(slots=True)
class Row:
    """What all rounds gave. Times in microseconds; each is the median over the rounds."""

    key: Key
    p50: float
    p99: float
    calls_per_second: float
    calls: int
    lost: int
    first: float | None = None
    """The first call after the start, where that is measured."""
    items_per_second: float | None = None
    """Of streams."""
    quantiles: list[tuple[float, float]] = field(default_factory=list)
    """(percent, time), of all rounds together."""


def quantile(ordered: list[float], percent: float) -> float:
    """Return a percentile of sorted values: the least value that `percent` of them do not exceed."""
    at = max(0, min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1))
    return ordered[int(at)]


def sum_up(key: Key, samples: list[dict[str, Any]]) -> Row:
    """Return the row of all rounds' samples of one thing. Rounds in which no call came back count as lost only."""
    good = [sorted(sample["latencies"]) for sample in samples if sample["latencies"]]
    together = sorted(seconds for sample in good for seconds in sample)
    rates = [len(sample["latencies"]) / sample["elapsed"] for sample in samples if sample["latencies"]]
    firsts = [sample["first"] for sample in samples if sample.get("first") is not None]
    row = Row(
        key,
        p50=_middle([quantile(one, 50) for one in good]) * 1e6,
        p99=_middle([quantile(one, 99) for one in good]) * 1e6,
        calls_per_second=_middle(rates),
        calls=sum(len(sample["latencies"]) + sample["lost"] for sample in samples),
        lost=sum(sample["lost"] for sample in samples),
        first=_middle(firsts) * 1e6 if firsts else None,
        quantiles=[(percent, quantile(together, percent) * 1e6) for percent in QUANTILES] if together else [],
    )
    if key.what == "stream":
        row.items_per_second = row.calls_per_second * samples[0]["items"]
    return row


def _middle(values: list[float]) -> float:
    return statistics.median(values) if values else 0.0
