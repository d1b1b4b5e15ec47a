"""Reading the condition of the machine and of this process: a few system calls, none of which waits for a disk."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import TYPE_CHECKING

from svcd.values.condition import Condition, Disk

if TYPE_CHECKING:
    from collections.abc import Iterable

    from svcd.host.log_files import LogFile

_CGROUPS = Path("/sys/fs/cgroup")


def read_condition(folders: Iterable[str], logs: Iterable[LogFile]) -> Condition:
    """Look at the disks of these folders, at what this process writes itself, and at clocks and limits."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    tasks, most_tasks = _tasks()
    return Condition(
        wall=time.time(),
        awake=time.monotonic(),
        boot=time.clock_gettime(time.CLOCK_BOOTTIME),
        descriptors=_descriptors(most),
        most_descriptors=most,
        tasks=tasks,
        most_tasks=most_tasks,
        disks={folder: _disk(folder) for folder in folders},
        unwritten={log.path: log.reason for log in logs if log.dropped},
    )


def _disk(folder: str) -> Disk:
    try:
        found = os.statvfs(folder)
    except OSError:
        return Disk(free=None)
    return Disk(free=found.f_bavail * found.f_frsize, is_read_only=bool(found.f_flag & os.ST_RDONLY))


def _descriptors(most: int) -> int:
    try:
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - only their number is wanted
    except OSError:  # there is none left to look with
        return most


def _tasks() -> tuple[int, int]:
    """Count and limit of processes and threads, of the machine or of the control group that is the fuller."""
    counts = [_of_machine(), *map(_of_group, _groups())]
    return max(counts, key=lambda count: count[0] / count[1] if count[1] else 0.0)


def _of_machine() -> tuple[int, int]:
    try:
        running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
        most = min(int(Path(f"/proc/sys/kernel/{name}").read_text()) for name in ("pid_max", "threads-max"))
    except (OSError, ValueError, IndexError):
        return 0, 0
    return running, most


def _groups() -> list[Path]:
    """The control groups around this process that may limit processes, version 2 or 1."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "" or "pids" in controllers.split(","):
            root = _CGROUPS / "pids" if controllers else _CGROUPS
            own = root / path.lstrip("/")
            found += [own, *(parent for parent in own.parents if root in parent.parents)]
    return found


def _of_group(group: Path) -> tuple[int, int]:
    try:
        return int((group / "pids.current").read_text()), int((group / "pids.max").read_text())
    except (OSError, ValueError):  # no such controller, or no limit: `max`
        return 0, 0
