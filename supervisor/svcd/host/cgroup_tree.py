"""The control groups around this program: what they allow, and whether replicas can be given their own below them.

Both versions of the kernel's interface are in use: version 2, where a service manager delegates a subtree to what it
starts, and version 1, where a folder that can be written to is all it takes. What is made is always below the group
that svcd itself runs in, so that limits from outside go on to hold.

The rules of version 2 are those of systemd's CGROUP_DELEGATION.md and of the kernel's cgroup-v2.rst: groups may be made
only in a delegated group, or in one that nobody else is in; and a group that gives controllers to its children may hold
no process itself, so svcd moves into a child first.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from svcd.host.processes import descendants
from svcd.host.remains import remove_groups

if TYPE_CHECKING:
    from collections.abc import Iterator

PERIOD = 100_000
"""Microseconds over which CPU time is counted; the kernel's own default."""
_BOUNDLESS = 1 << 60
"""Bytes from which a limit of version 1 is none: unset, it is the largest multiple of a page that fits 63 bits."""


class Bounds(NamedTuple):
    """What the groups around this program allow; None is no limit."""

    cpu: float | None = None
    """Cores."""
    memory: int | None = None
    """Bytes."""


class Group(NamedTuple):
    """A control group."""

    folder: Path
    top: Path
    """Where its hierarchy is mounted."""

    def upwards(self) -> Iterator[Path]:
        """Yield the folder and those above it up to the mount."""
        yield self.folder
        for folder in self.folder.parents:
            if folder.is_relative_to(self.top):
                yield folder


@dataclass(frozen=True, slots=True)
class Around:
    """The groups that this process is in."""

    first: dict[str, Group] = field(default_factory=dict)
    """Of version 1, by controller."""
    second: Group | None = None
    """Of version 2."""

    @classmethod
    def read(cls, proc: Path = Path("/proc/self")) -> Around:
        """Find them; what is mounted nowhere, or outside of what this process can see, is left out."""
        mounts = list(_mounts((proc / "mountinfo").read_text()))
        first: dict[str, Group] = {}
        second = None
        for line in (proc / "cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2)
            for controllers, root, top in mounts:
                if set(names.split(",")) == controllers and (inside := _inside(path, root)) is not None:
                    group = Group(top / inside, top)
                    first |= dict.fromkeys(filter(None, names.split(",")), group)
                    second = second if names else group
        return cls(first, second)

    def bounds(self) -> Bounds:
        """Return the tightest limits from the own groups up."""
        cpus: list[float] = []
        memories: list[int] = []
        for folder in _upwards(self.first.get("memory")):
            memories += _numbers(folder / "memory.limit_in_bytes")
        for folder in _upwards(self.first.get("cpu")):
            quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
            cpus += [quota[0] / period[0]] if quota and period and quota[0] > 0 else []
        for folder in _upwards(self.second):
            memories += _numbers(folder / "memory.max")
            most = _numbers(folder / "cpu.max")
            cpus += [most[0] / most[1]] if len(most) == 2 else []
        return Bounds(min(cpus, default=None), min((size for size in memories if size < _BOUNDLESS), default=None))


def _mounts(text: str) -> Iterator[tuple[set[str], str, Path]]:
    """Yield the cgroup mounts of a mountinfo: controllers ({""} for version 2), what of the hierarchy, and where."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if kind and kind[0] == "cgroup2":
            yield {""}, fields[3], Path(fields[4])
        elif kind and kind[0] == "cgroup":
            yield set(kind[2].split(",")) - {"rw", "ro", "xattr", "clone_children"}, fields[3], Path(fields[4])


def _inside(path: str, root: str) -> str | None:
    """Return a group's path below a mount that shows `root` of its hierarchy; None when it lies outside."""
    if path.startswith("/.."):  # above the root of this cgroup namespace
        return None
    if root == "/":
        return path.strip("/")
    return path.removeprefix(root).strip("/") if path == root or path.startswith(root + "/") else None


def _upwards(group: Group | None) -> Iterator[Path]:
    return iter(()) if group is None else group.upwards()


def _numbers(file: Path) -> list[int]:
    """The numbers of a small file; none for `max` or where there is no such file."""
    with suppress(OSError, ValueError):
        return [int(word) for word in file.read_text().split()]
    return []


@dataclass(frozen=True, slots=True)
class ControlGroups:
    """Where replicas get groups of their own, if they can."""

    memory: Path | None = None
    """Folder below which a group can limit memory; None: memory is watched only."""
    cpu: Path | None = None
    """Folder below which a group can limit CPU time; None: a fraction of a core is kept by nobody."""
    version: int = 2
    why_not: str = ""
    """Why there is no such folder for memory."""

    @classmethod
    def below(cls, around: Around, app: str) -> ControlGroups:
        """See what can be done. In version 2 this moves svcd's own processes into a group `svcd.APP.daemon`."""
        if (group := around.first.get("memory")) is not None:
            beside = around.first.get("cpu")
            if not _can_make(group.folder):
                return cls(version=1, why_not=f"svcd may not make groups in {group.folder}")
            return cls(group.folder, beside.folder if beside and _can_make(beside.folder) else None, version=1)
        if around.second is None:
            return cls(why_not="no cgroup file system is mounted")
        try:
            top = _delegated(around.second)
            _step_aside(top, app)
        except _Undelegated as error:
            return cls(why_not=str(error))
        given = (top / "cgroup.subtree_control").read_text().split()
        memory, cpu = (top if name in given else None for name in ("memory", "cpu"))
        return cls(memory, cpu, why_not="" if memory else f"{top} has no memory controller to give")

    def of(self, app: str, process_id: str, *, memory: int | None, cpu: float | None) -> list[list[Any]]:
        """Return the groups of one process, as `Spawn.cgroups`. cpu: cores, None where affinity says it all."""
        name = f"svcd.{app}.{process_id.replace('/', '.').replace('#', '.')}"
        groups: dict[Path, list[list[Any]]] = {}
        if memory is not None and self.memory is not None:
            groups.setdefault(self.memory, []).extend(self._memory_files(memory))
        if cpu is not None and self.cpu is not None:
            groups.setdefault(self.cpu, []).extend(self._cpu_files(round(cpu * PERIOD)))
        return [[str(folder / name), files] for folder, files in groups.items()]

    def _memory_files(self, limit: int) -> list[list[Any]]:
        if self.version == 1:
            return [["memory.limit_in_bytes", str(limit), True], ["memory.memsw.limit_in_bytes", str(limit), False]]
        # The whole replica ends, not whichever of its processes the kernel would pick; and it does not swap instead.
        return [["memory.oom.group", "1", False], ["memory.swap.max", "0", False], ["memory.max", str(limit), True]]

    def _cpu_files(self, quota: int) -> list[list[Any]]:
        if self.version == 1:
            return [["cpu.cfs_period_us", str(PERIOD), True], ["cpu.cfs_quota_us", str(max(quota, 1000)), True]]
        return [["cpu.max", f"{max(quota, 1000)} {PERIOD}", True]]  # the kernel takes no less than a millisecond

    def sweep(self, app: str, limit: float = 0.0) -> None:
        """Remove what a keeper left that was killed; what is in use after `limit` seconds stays."""
        for parent in {self.memory, self.cpu} - {None}:
            remove_groups(f"{parent}/svcd.{app}", limit)


class _Undelegated(Exception):  # noqa: N818 - news, and expected on most machines
    """No groups may be made here; the message says why."""


def _can_make(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _delegated(group: Group) -> Path:
    """Return the group that was delegated to us: ours, or its parent when we were started in a leaf of it."""
    for folder in list(group.upwards())[:2]:
        if _is_marked(folder) and _can_make(folder):
            return folder
    if not _can_make(group.folder):
        raise _Undelegated(f"svcd may not make groups in {group.folder}; for systemd, set Delegate=yes in its unit")
    strangers = set(_processes(group.folder)) - {os.getpid(), *descendants(os.getpid())}
    if strangers and group.folder != group.top:
        raise _Undelegated(f"{group.folder} was not delegated to svcd, and others are in it")
    return group.folder


def _is_marked(folder: Path) -> bool:
    """Whether systemd has marked it as delegated, or it belongs to us as users' own groups do."""
    for name in ("trusted.delegate", "user.delegate"):
        with suppress(OSError):
            return os.getxattr(folder, name) == b"1"
    with suppress(OSError):
        return os.geteuid() != 0 and folder.stat().st_uid == os.geteuid()
    return False


def _processes(folder: Path) -> list[int]:
    return [int(line) for line in (folder / "cgroup.procs").read_text().split()]


def _step_aside(top: Path, app: str) -> None:
    """Give the controllers of `top` to its children; whoever is in it moves into a child. Raises _Undelegated."""
    offered = (top / "cgroup.controllers").read_text().split()
    wanted = [name for name in ("memory", "cpu") if name in offered]
    try:
        if wanted and (top / "cgroup.events").exists():  # the root of all has none, and may hold processes
            leaf = top / f"svcd.{app}.daemon"
            leaf.mkdir(exist_ok=True)
            for pid in _processes(top):
                (leaf / "cgroup.procs").write_text(str(pid))
        for name in wanted:
            (top / "cgroup.subtree_control").write_text(f"+{name}")
    except OSError as error:
        raise _Undelegated(f"{error.filename or top}: {error.strerror}") from None
