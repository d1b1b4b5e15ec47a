"""Control groups of one process, in the kernel's own hierarchies."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from svcd.host.cgroup_tree import Around
from svcd.host.cgroups import Cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def own_folder(version: int) -> Path:
    around = Around.read()
    group = around.first.get("memory") if version == 1 else around.second
    if group is None or not os.access(group.folder, os.W_OK):
        pytest.skip(f"no control groups of version {version} can be made here")
    return group.folder


@pytest.fixture(params=[1, 2])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A place for a group that is not there yet."""
    folder = own_folder(request.param) / f"svcd.test.{os.getpid()}"
    yield folder
    if folder.exists():
        folder.rmdir()


def until_gone(cgroups: Cgroups) -> None:
    while not cgroups.remove():
        time.sleep(0.001)


@pytest.mark.root
def test_all_that_is_in_them_is_killed_and_they_go(folder: Path) -> None:
    cgroups = Cgroups([[str(folder), []]])
    cgroups.make()
    # It does not wait for them: where pids have begun anew they may be killed first, and it would end by itself.
    shell = f"echo 0 > {folder}/cgroup.procs; setsid sleep 1000 & setsid sleep 1000 & echo; exec sleep 1000"
    with subprocess.Popen(["sh", "-c", shell], stdout=subprocess.PIPE) as top:
        assert top.stdout is not None
        top.stdout.readline()
        assert len((folder / "cgroup.procs").read_text().split()) >= 2
        assert not cgroups.remove()
        cgroups.kill()
        assert top.wait() == -signal.SIGKILL
    until_gone(cgroups)
    assert not folder.exists()
    assert cgroups.remove()
    cgroups.kill()
    assert cgroups.oom() == ""


@pytest.mark.root
def test_counters_of_an_earlier_process_do_not_count(folder: Path) -> None:
    folder.mkdir()
    inode = folder.stat().st_ino
    Cgroups([[str(folder), []]]).make()
    assert folder.stat().st_ino != inode


@pytest.mark.root
def test_what_cannot_be_written_leaves_nothing(folder: Path) -> None:
    with pytest.raises(OSError, match="no-such-file") as caught:
        Cgroups([[str(folder), [["optional", "1", False], ["no-such-file", "1", True]]]]).make()
    assert caught.value.errno in {errno.ENOENT, errno.EACCES, errno.EPERM}
    assert not folder.exists()


@pytest.mark.cgroup
def test_a_child_that_the_kernel_kills_for_memory() -> None:
    folder = own_folder(1) / f"svcd.test.{os.getpid()}"
    limit = str(32 << 20)
    files: list[list[Any]] = [["memory.limit_in_bytes", limit, True], ["memory.memsw.limit_in_bytes", limit, False]]
    cgroups = Cgroups([[str(folder), files]])
    cgroups.make()
    try:
        eater = f"echo 0 > {folder}/cgroup.procs; exec tail /dev/zero"
        assert subprocess.run(["sh", "-c", eater], check=False).returncode == -signal.SIGKILL
        assert cgroups.oom() == "limit"
    finally:
        until_gone(cgroups)


@pytest.mark.parametrize(
    ("files", "oom"),
    [
        ({"memory.events": "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\noom_group_kill 1\n"}, "limit"),
        ({"memory.events": "low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n"}, "machine"),
        ({"memory.events": "low 0\nhigh 0\nmax 7\noom 0\noom_kill 0\n"}, ""),
        (
            {
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                "memory.max_usage_in_bytes": "4090\n",
                "memory.limit_in_bytes": "4096\n",
            },
            "limit",
        ),
        (
            {
                "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
                "memory.max_usage_in_bytes": "2000\n",
                "memory.limit_in_bytes": "4096\n",
            },
            "machine",
        ),
        ({}, ""),
    ],
)
def test_whose_memory_it_was(tmp_path: Path, files: dict[str, str], oom: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert Cgroups([[str(tmp_path), []]]).oom() == oom
