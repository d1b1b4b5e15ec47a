"""Letting the peer run before this process parks.

Where both ends share a core, whoever has just sent gives the core away once, with sched_yield(2): when it gets it back
the peer has mostly answered, and neither the event loop nor a wake-up was needed, which cost more than the call itself.
Where that does not come off (the peer has a core of its own, its handler takes long, other work wants the core) it is
tried again only after a pause that doubles each time.

The kernel gives the core to processes of the same scheduling group: those of a container or a control group with a CPU
controller, or else, where autogroup is on (sched(7)), of a session. Between groups a yield does nothing.

On boxes with cores to spare, `set_spin` lets this process look for the peer's bytes for a while instead of once:
between two cores, waking a process that sleeps takes longer than most calls.
"""

from __future__ import annotations

from os import sched_yield
from time import perf_counter
from typing import Final

_LONG: Final = 200e-6
"""Seconds without the core beyond which giving way counts as a failure, whether or not the peer has answered."""

_IN_A_ROW: Final = 8
"""Successes after which the event loop gets a turn, for the sake of this process's other tasks."""

_CHEAP: Final = 20e-6
"""Seconds within which a failure has cost nothing but the system call: nobody else wanted the core."""

_LONGEST_PAUSE: Final = 4096
_SHORT_PAUSE: Final = 16
"""Most waits that go straight to the event loop before it is tried again, after dear and after cheap failures."""


_spin = 0.0


def set_spin(seconds: float) -> None:
    """Let the connections that this process makes from now on wait so long with the core held, before they park."""
    global _spin  # noqa: PLW0603 - one for the process, which is what has cores to spare or not
    _spin = seconds


class GiveWay:
    """The experience of one connection. Give way only while `skip` is 0, and say by `note` whether it helped."""

    __slots__ = ("_most", "_pause", "_start", "_streak", "is_loops_turn", "skip", "spin")

    def __init__(self) -> None:
        self.skip = 0
        """Waits to come that go straight to the event loop; whoever waits counts it down."""
        self.is_loops_turn = False
        """Before the next call the event loop has to turn once, without waiting for anything: parking would cost the
        peer a wake-up, and make that call twice as long."""
        self._pause = 1
        self._streak = 0
        self._start = 0.0
        self.spin = _spin
        """Seconds for which it goes on giving way."""
        self._most = _LONG + _spin

    def give(self) -> None:
        """Let another process run on this core; returns at once when none wants it."""
        self._start = perf_counter()
        sched_yield()

    def give_on(self) -> bool:
        """Give way once more if there is time left to spin, or where it came off last time; False to park."""
        if self._streak:
            self._streak = 0
        elif not self.spin or perf_counter() - self._start > self.spin:
            return False
        sched_yield()
        return True

    def note(self, has_helped: bool) -> None:
        """Say whether the peer's bytes came while this process gave way."""
        took = perf_counter() - self._start
        if not has_helped or took > self._most:
            longest = _SHORT_PAUSE if took < _CHEAP else _LONGEST_PAUSE
            self._pause = self.skip = min(2 * self._pause, longest)
            self._streak = 0
            return
        self._pause = 1
        self._streak += 1
        if self._streak == _IN_A_ROW:
            self._streak = 0
            self.is_loops_turn = True
