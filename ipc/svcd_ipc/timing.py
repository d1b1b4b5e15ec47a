"""Where the time of a call went: how long it waited, how long it ran, and the same of all that it called.

A call that carries a trace context is timed; its result brings `[queued, run, {name: [calls, queued, run], ...}]`, in
microseconds. The calls below it are summed by the name of their api, so that what travels stays small however many
there were. `run` includes the time of calls further down; `queued` is the time before the callee's own code began.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_NAMES: Final = 64
"""Apis of which times are kept; a graph that a request runs through has fewer."""


@dataclass(slots=True)
class Timing:
    """The times of one call, while it runs. Instants and seconds of the channel's clock."""

    began: float
    queued: float = 0.0
    """Seconds that it waited for a thread or for the batch that it is part of."""
    hops: dict[str, list[int]] = field(default_factory=dict)
    """Name of an api -> [calls, microseconds queued, microseconds run]."""

    def add(self, name: str, queued: int, run: int, calls: int = 1) -> None:
        """Add calls that are over; microseconds."""
        hop = self.hops.get(name)
        if hop is not None:
            hop[0] += calls
            hop[1] += queued
            hop[2] += run
        elif len(self.hops) < MOST_NAMES:
            self.hops[name] = [calls, queued, run]

    def wait(self, name: str, seconds: float) -> None:
        """Add time that a call spent in line for a replica, before it was made."""
        self.add(name, int(seconds * 1e6), 0, calls=0)

    def join(self, name: str, told: list[Any]) -> None:
        """Add what the result of a call has brought, checked by `check`."""
        queued, run, hops = told
        self.add(name, queued, run)
        for below, (calls, queued, run) in hops.items():
            self.add(below, queued, run, calls)

    def told(self, now: float) -> list[Any]:
        """Return it as a result brings it."""
        return [int(self.queued * 1e6), int(max(0.0, now - self.began - self.queued) * 1e6), self.hops]


def check(told: Any) -> None:
    """Raise ValueError unless this is what `told` makes."""
    if type(told) is not list or len(told) != 3 or type(told[2]) is not dict or len(told[2]) > MOST_NAMES:
        raise ValueError("expected times")
    for number in _numbers(told):
        if type(number) is not int or number < 0:
            raise ValueError(f"expected microseconds, not {number!r:.40}")


def _numbers(told: list[Any]) -> Iterator[Any]:
    yield told[0]
    yield told[1]
    for name, hop in told[2].items():
        if type(name) is not str or type(hop) is not list or len(hop) != 3:
            raise ValueError("expected times by name")
        yield from hop
