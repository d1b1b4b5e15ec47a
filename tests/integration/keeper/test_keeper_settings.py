"""What the kernel is told of a child before its exec, and what becomes of one for which it refuses."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from kept_app import until

from svcd.host.cgroup_tree import Around
from svcd.values.orders import Exited, Gone, Kill, SpawnFailed

if TYPE_CHECKING:
    from kept_app import KeptApp

SLEEP = ["sleep", "1000"]


BARRED = " (as user 12, whom every folder on the way has to let through)"


def status_of(pid: int) -> str:
    return Path(f"/proc/{pid}/status").read_text()


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def inside(folder: Path) -> list[str]:
    return (folder / "cgroup.procs").read_text().split()


def limit(pid: int, name: str) -> list[str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return next(line for line in lines if line.startswith(name))[26:].split()[:2]


async def test_settings_are_in_force_at_exec(app: KeptApp) -> None:
    cpu = min(os.sched_getaffinity(0))
    pid = await app.spawned("A", SLEEP, umask=0o077, nice=7, rlimits={"nofile": [64, 128], "core": [0, 0]}, cpus=[cpu])
    status = status_of(pid)
    assert "Umask:\t0077" in status
    assert os.getpriority(os.PRIO_PROCESS, pid) == 7
    assert os.sched_getaffinity(pid) == {cpu}
    assert limit(pid, "Max open files") == ["64", "128"]
    assert limit(pid, "Max core file size") == ["0", "0"]


@pytest.mark.root
async def test_a_child_of_another_user_dies_with_the_keeper_too(app: KeptApp) -> None:
    """The kernel forgets the signal of the parent's death when the user changes."""
    app.folder.chmod(0o755)
    pid = await app.spawned("A", SLEEP, user=[12, 12, 12, 8], cwd="/")
    status = status_of(pid)
    assert "Uid:\t12\t12\t12\t12" in status
    assert "Gid:\t12\t12\t12\t12" in status
    assert {"Groups:", "12", "8"} == set(next(line for line in status.splitlines() if "Groups" in line).split())
    assert os.stat(f"/proc/{pid}/fd/1").st_uid == 12  # noqa: PTH116 - of what the link leads to, which has no path
    keeper = app.keeper
    app.remember()
    os.kill(keeper, 9)
    await until(lambda: not lives(pid))


@pytest.mark.root
@pytest.mark.parametrize(
    ("settings", "number", "message"),
    [
        ({"cpus": [9999]}, errno.EINVAL, "cannot run on the CPUs 9999 alone: Invalid argument"),
        (
            {"rlimits": {"nofile": [9, 3]}},
            errno.EINVAL,
            "cannot set the limit nofile to 9 (hard 3): Invalid argument",
        ),
        (
            {"cgroups": [["/nowhere/group", []]]},
            errno.ENOENT,
            "cannot make its control group /nowhere/group: No such file or directory",
        ),
        (
            {"user": [12, 12], "cwd": "/root"},
            errno.EACCES,
            f"cannot enter the directory /root: Permission denied{BARRED}",
        ),
        (
            {"user": [12, 12], "cwd": "/", "argv": ["/root/program"]},
            errno.EACCES,
            f"cannot execute /root/program: Permission denied{BARRED}",
        ),
    ],
)
async def test_what_the_kernel_refuses(app: KeptApp, settings: dict[str, Any], number: int, message: str) -> None:
    app.spawn("A", settings.pop("argv", SLEEP), **settings)
    assert await app.expect(SpawnFailed) == SpawnFailed("A", number, message)


@pytest.mark.root
async def test_a_runaway_in_a_control_group_is_found_there(app: KeptApp) -> None:
    """One that no other trace leads to: no environment, a session of its own, its parent gone."""
    group = Around.read().second
    if group is None or not os.access(group.folder, os.W_OK):
        pytest.skip("no control groups can be made here")
    folder = group.folder / f"svcd.test.{os.getpid()}"
    note = app.spawn_from_zoo("A", "scrubs_and_stays", cgroups=[[str(folder), []]])
    await until(note.exists)
    runaway = int(note.read_text())
    assert str(runaway) in inside(folder)
    app.send(Kill("A"))
    await app.event()  # Spawned
    assert (await app.expect(Exited)).code == -9
    assert await app.expect(Gone) == Gone("A")
    assert not lives(runaway)
    assert not folder.exists()
