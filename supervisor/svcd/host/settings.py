"""What a child tells the kernel of itself between fork and exec: cgroups, priority, limits, CPUs, user.

What the daemon or whoever started it had set for itself (priority, scheduling class, protection from the OOM killer,
umask) is put back to what the kernel gives to everybody, as far as the kernel permits that: isolation is the default.

Law: stdlib only, and nothing here starts a thread or takes a lock; this runs in a forked child.
"""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager, suppress
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from svcd.values.orders import Spawn


class SettingError(OSError):
    """A setting that the kernel refuses; `what` names it in words that follow "cannot"."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(number, what)
        self.what = what


class Settings(NamedTuple):
    """The settings of one process; the fields are those of `Spawn`."""

    umask: int = 0o022
    nice: int = 0
    rlimits: Mapping[str, Sequence[int]] = {}
    cpus: Sequence[int] = ()
    user: Sequence[int] = ()
    cgroups: Sequence[str] = ()
    """Folders of the control groups to join."""

    @classmethod
    def of(cls, order: Spawn, more_rlimits: Mapping[str, Sequence[int]] = {}) -> Settings:
        """Take the settings out of an order."""
        folders = [group[0] for group in order.cgroups]
        return cls(order.umask, order.nice, {**order.rlimits, **more_rlimits}, order.cpus, order.user, folders)


def apply(settings: Settings) -> None:
    """Apply all but the user to this process. Raises SettingError."""
    for folder in settings.cgroups:
        with _doing(f"join the control group {folder}"):
            _write(f"{folder}/cgroup.procs", "0")
    _default_scheduling()
    _set_nice(settings.nice)
    if settings.cpus:
        with _doing(f"run on the CPUs {', '.join(map(str, settings.cpus))} alone"):
            os.sched_setaffinity(0, settings.cpus)
    os.umask(settings.umask)
    for name, (soft, hard) in settings.rlimits.items():
        with _doing(f"set the limit {name} to {soft} (hard {hard})"):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (soft, hard))


def become(user: Sequence[int]) -> None:
    """Become user id, group id and supplementary groups for good; nothing for none. Raises SettingError.

    The kernel forgets PDEATHSIG here, and shows little of this process in /proc until its exec.
    """
    if user:
        uid, gid, *groups = user
        with _doing(f"become user {uid} and group {gid}"):
            # What the process has open for its output is its own, so that it can open /dev/stdout again.
            for descriptor in (1, 2):
                os.fchown(descriptor, uid, gid)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)


def _default_scheduling() -> None:
    """Undo real-time or idle scheduling and the OOM killer's instructions; what the kernel does not permit stays."""
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    with suppress(OSError):
        _write("/proc/self/oom_score_adj", "0")


def _set_nice(nice: int) -> None:
    if os.getpriority(os.PRIO_PROCESS, 0) == nice:
        return
    try:
        with _doing(f"set nice to {nice}"):
            os.setpriority(os.PRIO_PROCESS, 0, nice)
    except SettingError:
        if nice:  # 0 is the default: an ordinary user's svcd that was started with `nice` can't go back there
            raise


@contextmanager
def _doing(what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # setrlimit says ValueError where the kernel says EINVAL or EPERM
        number = (error.errno if isinstance(error, OSError) else None) or _errno_of(error)
        raise SettingError(number, what) from None


def _errno_of(error: Exception) -> int:
    import errno  # noqa: PLC0415 - next to never needed

    return errno.EPERM if "not allowed to raise" in str(error) else errno.EINVAL


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
