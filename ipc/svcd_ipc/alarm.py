"""One timer for all deadlines of a channel.

A timer per call would cost more than the call. The alarm sleeps until the earliest deadline it knew when it was armed
and looks at the calls in flight only then; a new call wakes it only when its deadline is earlier still.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from svcd_ipc.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Callable


class Alarm:
    """`expire(now)` ends what is due and returns the earliest deadline left (inf when none)."""

    def __init__(self, clock: Callable[[], float], expire: Callable[[float], float]) -> None:
        self._clock = clock
        self._expire = expire
        self._bell = Bell()
        self.armed = inf
        """The next instant at which `expire` runs; only an earlier deadline needs `by`."""

    def by(self, deadline: float) -> None:
        """See to it that `expire` runs at `deadline`."""
        if deadline < self.armed:
            self.armed = deadline
            self._bell.ring()

    async def run(self) -> None:
        """Keep the time until cancelled."""
        while True:
            with trio.move_on_after(max(0.0, self.armed - self._clock())):
                await self._bell.wait()
                continue
            self.armed = self._expire(self._clock())
