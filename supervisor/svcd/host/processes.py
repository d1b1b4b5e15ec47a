"""Processes of this machine: who descends from whom, and how to end all of them.

Law: a process is signalled only while it is known to be the one that was meant. A pidfd is opened first and what it
names is read again after, so a pid that was reused in between is left alone.

Nothing is stopped with SIGSTOP first: the caller is a child subreaper, so whatever slips through one pass (a child
forked meanwhile, an orphan of a process just killed) is still a descendant in the next.
"""

from __future__ import annotations

import ctypes
import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)

_LISTS_CHILDREN = os.access("/proc/thread-self/children", os.R_OK)
"""Whether the kernel lists the children of a thread (CONFIG_PROC_CHILDREN); else every process is asked its parent."""

_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.05
"""Seconds between passes of a killing: the kernel needs a moment to take a large process down."""


class ProcessStat(NamedTuple):
    """A part of /proc/PID/stat; pid and start together name a process for the life of the machine."""

    pid: int
    name: str
    state: str
    parent: int
    group: int
    session: int
    cpu_ticks: int
    """User and system time, in clock ticks."""
    start: int
    """When it started, in clock ticks since boot."""
    resident: int
    """Resident set, in pages."""


def become_subreaper() -> None:
    """Have orphaned descendants reparented to this process rather than to init. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_pdeathsig(signum: int = signal.SIGKILL) -> None:
    """Have the kernel send `signum` to this process when the *thread* that forked it ends. Raises OSError.

    The parent may have ended before this call: compare os.getppid() afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, signum)


def _prctl(option: int, value: int) -> None:
    if _LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")


_EXITING = 0x4
"""PF_EXITING of the kernel's include/linux/sched.h, among the flags in /proc/PID/stat."""
_KILLED = 1 << (signal.SIGKILL - 1)
"""Its bit among the pending signals, see proc_pid_status(5)."""


def read_stat(pid: int) -> ProcessStat | None:
    """Return what /proc says of a process, or None when there is no such process."""
    try:
        text = _read(f"/proc/{pid}/stat")
    except OSError:
        return None
    # The name may hold spaces and parentheses; nothing after its last parenthesis does.
    head, _, tail = text.rpartition(b")")
    rest = tail.split()
    if len(rest) < 22:
        return None
    return ProcessStat(
        pid=pid,
        name=head.partition(b"(")[2].decode(errors="replace"),
        state=rest[0].decode(),
        parent=int(rest[1]),
        group=int(rest[2]),
        session=int(rest[3]),
        cpu_ticks=int(rest[11]) + int(rest[12]),
        start=int(rest[19]),
        resident=int(rest[21]),
    )


def is_ending(pid: int) -> bool:
    """Whether a process has ended, or is about to: it has been killed, and the kernel takes it apart."""
    try:
        flags = int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[6])
        status = _read(f"/proc/{pid}/status")
    except (OSError, IndexError):
        return True
    pending = next((line.split()[1] for line in status.splitlines() if line.startswith(b"ShdPnd:")), b"0")
    return bool(flags & _EXITING or int(pending, 16) & _KILLED)


def environment_of(pid: int, name: str) -> str | None:
    """Return a variable of the environment that a process was started with; None when unset or unreadable."""
    wanted = name.encode() + b"="
    with suppress(OSError):
        for item in _read(f"/proc/{pid}/environ").split(b"\0"):
            if item.startswith(wanted):
                return os.fsdecode(item[len(wanted) :])
    return None


def children(pid: int) -> list[int]:
    """Return the pids of a process's children, zombies included; empty when there is no such process."""
    if not _LISTS_CHILDREN:
        return [child for child in all_pids() if (stat := read_stat(child)) and stat.parent == pid]
    found: list[int] = []
    with suppress(OSError), os.scandir(f"/proc/{pid}/task") as threads:
        for thread in threads:
            with suppress(OSError):
                found += map(int, _read(f"/proc/{pid}/task/{thread.name}/children").split())
    return found


def all_pids() -> list[int]:
    """Return the pids of this machine, or of this container."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def descendants(pid: int, *, spare: frozenset[int] = frozenset()) -> Iterator[int]:
    """Yield the pids below a process, parents first; those in `spare` and all below them are left out."""
    seen = {pid, *spare}
    waiting = [pid]
    while waiting:
        for child in children(waiting.pop()):
            if child not in seen:
                seen.add(child)
                waiting.append(child)
                yield child


def kill(stats: Iterable[ProcessStat], *, sparing: int) -> None:
    """SIGKILL these processes, which some process started, and their process groups but for its own, `sparing`.

    A group is killed in one step that no fork can slip through, which is what ends a fork bomb. Every group but the one
    that a process was born into was made by its descendants, and so holds nothing but descendants.
    """
    stats = list(stats)
    for group in {stat.group for stat in stats if stat.session and stat.group not in {0, 1, sparing}}:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    for stat in stats:
        _kill_one(stat)


def _kill_one(stat: ProcessStat) -> None:
    try:
        descriptor = os.pidfd_open(stat.pid)
    except OSError:
        return
    try:
        now = read_stat(stat.pid)
        if now is not None and now.start == stat.start:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def kill_pass(root: int, *, spare: frozenset[int] = frozenset()) -> list[int]:
    """SIGKILL everything below `root` that is there now; return the pids, zombies included."""
    top = read_stat(root)
    stats = [stat for pid in descendants(root, spare=spare) if (stat := read_stat(pid)) is not None]
    kill(stats, sparing=os.getpgrp() if top is None else top.group)
    return [stat.pid for stat in stats]


def kill_descendants(*, spare: frozenset[int] = frozenset(), timeout: float | None = None) -> list[int]:
    """SIGKILL everything below this process until nothing is left, reaping as it goes; blocks.

    Children in `spare`, and all below them, are left alone and not reaped. Returns the pids that were still there after
    `timeout` seconds (a process in uninterruptible sleep, stuck in a driver); None waits for ever.
    """
    here = os.getpid()
    end = None if timeout is None else time.monotonic() + timeout
    pause = _FIRST_PAUSE
    empty = 0
    while True:
        left = kill_pass(here, spare=spare)
        reap(spare=spare)
        # A listing of children may miss one whose elder sibling ends just then; it does not miss the same one twice.
        empty = 0 if left else empty + 1
        if empty == 2:
            return []
        if end is not None and time.monotonic() > end:
            return left
        if left:
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


def reap(*, spare: frozenset[int] = frozenset()) -> list[tuple[int, int]]:
    """Collect the children of this process that ended, those in `spare` excepted; return (pid, exit code) of each.

    An exit code is the exit status, or minus the number of the signal.
    """
    reaped = []
    for pid in children(os.getpid()):
        if pid not in spare:
            with suppress(ChildProcessError):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    reaped.append((done, os.waitstatus_to_exitcode(status)))
    return reaped


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        parts = []
        while part := os.read(descriptor, 65536):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)
