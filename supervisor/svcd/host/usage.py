"""What processes use: CPU since the last look, and memory."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from svcd.host.processes import ProcessStat, descendants, read_stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_PAGE_SIZE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all below it use."""

    cpu_percent: float
    """Of one core, on average since the last look; 0 at the first."""
    rss_bytes: int
    """Resident memory; pages that two of the processes share count twice."""


class UsageMeter:
    """Remembers the CPU time of each process from one look to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[int, int], tuple[float, int]] = {}
        """(pid, start) -> (when, CPU ticks)."""

    def look(self, pids: Iterable[int]) -> dict[int, Usage]:
        """Return the usage of the tree below each of these processes; those that are no more are left out."""
        now = self._clock()
        seen: dict[tuple[int, int], tuple[float, int]] = {}
        usages = {}
        for top in pids:
            stats = [stat for pid in (top, *descendants(top)) if (stat := read_stat(pid))]
            if stats and stats[0].pid == top:
                cpu = sum(self._cpu_percent(stat, now) for stat in stats)
                usages[top] = Usage(round(cpu, 1), sum(stat.resident for stat in stats) * _PAGE_SIZE)
            seen |= {(stat.pid, stat.start): (now, stat.cpu_ticks) for stat in stats}
        self._last = seen
        return usages

    def _cpu_percent(self, stat: ProcessStat, now: float) -> float:
        before = self._last.get((stat.pid, stat.start))
        if before is None or now <= before[0]:
            return 0.0
        return 100 * (stat.cpu_ticks - before[1]) / _TICKS_PER_SECOND / (now - before[0])
