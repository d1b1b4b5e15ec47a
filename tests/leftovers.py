"""Prove by /proc that nothing is left: of processes started under a mark, and of processes known by pid.

A mark is a variable of the environment, so it is inherited by all that a test starts, whatever sessions it makes. A
program that empties its environment has to be known by pid: see `snapshot`.
"""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

from svcd.host.processes import descendants, environment_of, read_stat

VARIABLE = "SVCD_TEST_MARK"


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


def assert_none_left(mark: dict[str, str], known: set[tuple[int, int]] = frozenset(), *, within: float = 2.0) -> None:  # type: ignore[assignment]  # a frozenset is never changed
    """Wait until nothing is left; fail after `within` seconds with what there still is."""
    end = time.monotonic() + within
    while left := marked(mark) | living(known):
        if time.monotonic() > end:
            raise AssertionError("still there: " + ", ".join(_describe(pid) for pid in sorted(left)))
        time.sleep(0.005)


def _describe(pid: int) -> str:
    stat = read_stat(pid)
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        command = "?"
    return f"{pid} [{stat.state if stat else '?'}, parent {stat.parent if stat else '?'}] {command}"
