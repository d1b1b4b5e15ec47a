"""Prove by /proc that nothing is left: of processes started under a mark, and of processes known by pid.

A mark is a variable of the environment, so it is inherited by all that a test starts, whatever sessions it makes. A
program that empties its environment has to be known by pid: see `snapshot`.
"""

from __future__ import annotations

import math
import os
import time
import uuid
from pathlib import Path

from svcd.host.processes import descendants, environment_of, read_stat

VARIABLE = "SVCD_TEST_MARK"
PROMISE = 2.0
"""Seconds in which nothing is left of an app whose daemon, guard or keeper was killed."""
STALL = 3.0
"""Seconds that a busy machine may take on top of it, as far as this process can show that it was not let run."""


class Deadline:
    """Passes after so many seconds by the clock, or after so many in which the machine let this process run.

    The second kind counts what was slept on purpose and the CPU time used in between: a machine on which everybody
    waits for the CPU keeps no promise of a program's, and a test cannot tell whose fault it is but by its own waiting.
    """

    def __init__(self, within: float, running: float = math.inf) -> None:
        self._end, self._running = time.monotonic() + within, running
        self._cpu, self._slept = time.thread_time(), 0.0
        self.limit = min(within, running)

    @classmethod
    def promised(cls, after: float = 0.0) -> Deadline:
        """The promise about what is killed, and `after` so many seconds more."""
        return cls(after + PROMISE + STALL, after + PROMISE)

    @classmethod
    def of(cls, within: float | Deadline | None) -> Deadline:
        """A deadline as it is, one of so many seconds, or that of the promise."""
        if within is None:
            return cls.promised()
        return within if isinstance(within, Deadline) else cls(within)

    @property
    def is_over(self) -> bool:
        """Whether either has passed."""
        ran = self._slept + time.thread_time() - self._cpu
        return time.monotonic() > self._end or ran > self._running

    def sleep(self, seconds: float) -> None:
        """Sleep, which counts."""
        time.sleep(seconds)
        self._slept += seconds


def new_mark() -> dict[str, str]:
    """Return a variable to add to the environment of everything that one test starts."""
    return {VARIABLE: uuid.uuid4().hex}


def marked(mark: dict[str, str]) -> set[int]:
    """The pids of living processes that carry the mark, this one excepted."""
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return {pid for pid in pids if pid != os.getpid() and environment_of(pid, VARIABLE) == mark[VARIABLE]}


def snapshot(pid: int) -> set[tuple[int, int]]:
    """What is below a process now, and itself, as (pid, start): a later process with the same pid is told apart."""
    return {(stat.pid, stat.start) for each in (pid, *descendants(pid)) if (stat := read_stat(each))}


def living(known: set[tuple[int, int]]) -> set[int]:
    """Those of a snapshot that live still; a zombie that nobody reaps does not."""
    return {
        pid for pid, start in known if (stat := read_stat(pid)) and stat.start == start and stat.state not in {"Z", "X"}
    }


def assert_none_left(
    mark: dict[str, str],
    known: set[tuple[int, int]] = frozenset(),  # type: ignore[assignment]  # a frozenset is never changed
    *,
    within: float | Deadline | None = None,
) -> None:
    """Wait until nothing is left; fail after `within` seconds, else those promised, with what there still is."""
    deadline = Deadline.of(within)
    while left := marked(mark) | living(known):
        if deadline.is_over:
            raise AssertionError("still there: " + ", ".join(_describe(pid) for pid in sorted(left)))
        deadline.sleep(0.005)


def in_shm() -> set[Path]:
    """Return the files of shared memory, but those of the databases that other tests run."""
    return {path for path in Path("/dev/shm").iterdir() if not path.name.startswith("PostgreSQL.")}


def _describe(pid: int) -> str:
    stat = read_stat(pid)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = "?"
    return f"{pid} [{stat.state if stat else '?'}, parent {stat.parent if stat else '?'}] {command}"
