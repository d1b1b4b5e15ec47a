"""What processes use: CPU since the last look, and memory."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import psutil

from svcd.host.processes import descendants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_Key = tuple[int, float]
"""(pid, when it started): a pid that was taken by another process is told by it."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process and all below it use."""

    cpu_percent: float
    """Of one core, on average since the last look; 0 at the first."""
    rss_bytes: int
    """Resident memory; pages that two of the processes share count twice."""


class _Sample(NamedTuple):
    key: _Key
    cpu_seconds: float
    resident: int


class UsageMeter:
    """Remembers the CPU time of each process from one look to the next."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[_Key, tuple[float, float]] = {}
        """When each was looked at, and the CPU seconds that it had used."""

    def look(self, pids: Iterable[int]) -> dict[int, Usage]:
        """Return the usage of the tree below each of these processes; those that are no more are left out."""
        now = self._clock()
        seen: dict[_Key, tuple[float, float]] = {}
        usages = {}
        for top in pids:
            samples = [sample for pid in (top, *descendants(top)) if (sample := _sample(pid))]
            if samples and samples[0].key[0] == top:
                cpu = sum(self._cpu_percent(sample, now) for sample in samples)
                usages[top] = Usage(round(cpu, 1), sum(sample.resident for sample in samples))
            seen |= {sample.key: (now, sample.cpu_seconds) for sample in samples}
        self._last = seen
        return usages

    def _cpu_percent(self, sample: _Sample, now: float) -> float:
        before = self._last.get(sample.key)
        if before is None or now <= before[0]:
            return 0.0
        return 100 * (sample.cpu_seconds - before[1]) / (now - before[0])


def _sample(pid: int) -> _Sample | None:
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        with process.oneshot():
            times = process.cpu_times()
            return _Sample((pid, process.create_time()), times.user + times.system, process.memory_info().rss)
    return None
