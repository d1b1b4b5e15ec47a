"""Where the time of a call went: how long it waited, how long it ran, and the same of all that it called.

A call that carries a trace context is timed; its result brings `[queued, run, {name: [calls, queued, run], ...}]`, in
microseconds. The calls below it are summed by the name of their api, so that what travels stays small however many
there were. `run` includes the time of calls further down; `queued` is the time before the callee's own code began.
"""

from __future__ import annotations

from typing import Any, Final

MOST_NAMES: Final = 64
"""Apis of which times are kept; a graph that a request runs through has fewer."""


class Timing:
    """The times of one call, while it runs. Instants and seconds of the channel's clock."""

    __slots__ = ("began", "hops", "queued")

    def __init__(self, began: float) -> None:
        self.began = began
        self.queued = 0.0
        """Seconds that it waited for its thread."""
        self.hops: dict[str, list[int]] = {}
        """Name of an api -> [calls, microseconds queued, microseconds run]."""

    def __repr__(self) -> str:
        return f"<Timing since {self.began} [{len(self.hops)} apis called]>"

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
    if type(told) is not list or len(told) != 3:
        raise ValueError("expected times")
    queued, run, hops = told
    if not (type(queued) is type(run) is int and queued >= 0 and run >= 0):
        raise ValueError("expected microseconds")
    if type(hops) is not dict or len(hops) > MOST_NAMES:
        raise ValueError("expected times by name")
    for name, hop in hops.items():  # mostly there are none
        if type(name) is not str or type(hop) is not list or len(hop) != 3:
            raise ValueError("expected times by name")
        if not all(type(number) is int and number >= 0 for number in hop):
            raise ValueError("expected microseconds")
