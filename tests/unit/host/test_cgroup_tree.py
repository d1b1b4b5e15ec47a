"""Which control groups there are and what may be made below them: read of texts and folders as the kernel has them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from svcd.host.cgroup_tree import Around, Bounds, ControlGroups, Group

if TYPE_CHECKING:
    from pathlib import Path

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
25 22 0:22 / {top}/memory rw,nosuid shared:9 - cgroup cgroup rw,memory
26 22 0:23 / {top}/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct
27 22 0:24 / {top}/unified rw,nosuid - cgroup2 cgroup2 rw,nsdelegate
28 22 0:25 / {top}/systemd rw,nosuid - cgroup cgroup rw,xattr,name=systemd
"""
OWN = "4:memory:/svc\n3:cpu,cpuacct:/svc\n1:name=systemd:/svc\n0::/svc\n"


def around(folder: Path, mounts: str = MOUNTS, own: str = OWN) -> Around:
    (folder / "mountinfo").write_text(mounts.format(top=folder))
    (folder / "cgroup").write_text(own)
    return Around.read(folder)


def make(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text + "\n")
    return folder


def second(folder: Path, own: str = "/svc") -> Around:
    """A machine that has version 2 alone."""
    return around(folder, "27 22 0:24 / {top}/cg rw - cgroup2 cgroup2 rw\n", f"0::{own}\n")


def test_both_versions_are_found(tmp_path: Path) -> None:
    found = around(tmp_path)
    assert found.first["memory"] == Group(tmp_path / "memory/svc", tmp_path / "memory")
    assert found.first["cpu"] == found.first["cpuacct"] == Group(tmp_path / "cpu,cpuacct/svc", tmp_path / "cpu,cpuacct")
    assert found.second == Group(tmp_path / "unified/svc", tmp_path / "unified")


def test_a_mount_that_shows_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    """As a container has that shares the cgroup namespace of its host."""
    mounts = "27 22 0:24 /docker/c0ffee {top}/cg rw - cgroup2 cgroup2 rw\n"
    assert around(tmp_path, mounts, "0::/docker/c0ffee/svc\n").second == Group(tmp_path / "cg/svc", tmp_path / "cg")
    assert around(tmp_path, mounts, "0::/docker/c0ffee\n").second == Group(tmp_path / "cg", tmp_path / "cg")
    assert around(tmp_path, mounts, "0::/docker/other\n").second is None
    assert around(tmp_path, mounts, "0::/../outside\n").second is None


def test_the_tightest_limit_from_the_own_group_up(tmp_path: Path) -> None:
    make(tmp_path / "cg", memory__max="4000", cpu__max="max 100000")
    make(tmp_path / "cg/svc", memory__max="max", cpu__max="150000 100000")
    assert second(tmp_path).bounds() == Bounds(cpu=1.5, memory=4000)


def test_limits_of_version_1(tmp_path: Path) -> None:
    make(tmp_path / "memory/svc", memory__limit_in_bytes="9223372036854771712")
    make(tmp_path / "cpu,cpuacct/svc", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    assert around(tmp_path).bounds() == Bounds()
    make(tmp_path / "memory", memory__limit_in_bytes="4096")
    make(tmp_path / "cpu,cpuacct", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert around(tmp_path).bounds() == Bounds(cpu=0.5, memory=4096)


def test_version_1_makes_groups_below_the_own(tmp_path: Path) -> None:
    make(tmp_path / "memory/svc", cgroup__procs="1")
    make(tmp_path / "cpu,cpuacct/svc", cgroup__procs="1")
    groups = ControlGroups.below(around(tmp_path), "app")
    assert groups.of("app", "A/0#3", memory=4096, cpu=0.25) == [
        [
            f"{tmp_path}/memory/svc/svcd.app.A.0.3",
            [["memory.limit_in_bytes", "4096", True], ["memory.memsw.limit_in_bytes", "4096", False]],
        ],
        [
            f"{tmp_path}/cpu,cpuacct/svc/svcd.app.A.0.3",
            [["cpu.cfs_period_us", "100000", True], ["cpu.cfs_quota_us", "25000", True]],
        ],
    ]
    assert groups.of("app", "A/0#3", memory=None, cpu=None) == []


def test_a_delegated_group_of_version_2_is_left_for_a_child(tmp_path: Path) -> None:
    """The kernel gives controllers only to the children of a group that holds no process."""
    top = make(
        tmp_path / "cg/svc",
        cgroup__procs=f"{os.getpid()}",
        cgroup__controllers="cpuset cpu io memory pids",
        cgroup__events="populated 1",
        cgroup__subtree_control="cpu memory",
    )
    make(top / "svcd.app.daemon", cgroup__procs="")
    groups = ControlGroups.below(second(tmp_path), "app")
    assert (groups.memory, groups.cpu, groups.why_not) == (None, None, f"{top} has no memory controller to give")
    assert (top / "svcd.app.daemon/cgroup.procs").read_text() == str(os.getpid())
    assert (top / "cgroup.subtree_control").read_text() == "+cpu"  # a plain file: the kernel's would hold both

    groups = ControlGroups(memory=top, cpu=top)
    assert groups.of("app", "A/0#1", memory=4096, cpu=1.5) == [
        [
            f"{top}/svcd.app.A.0.1",
            [
                *(["memory.oom.group", "1", False], ["memory.swap.max", "0", False], ["memory.max", "4096", True]),
                ["cpu.max", "150000 100000", True],
            ],
        ]
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's own groups count as delegated")
def test_a_group_with_strangers_in_it_is_not_ours(tmp_path: Path) -> None:
    top = make(tmp_path / "cg/svc", cgroup__procs="1", cgroup__controllers="memory", cgroup__events="populated 1")
    groups = ControlGroups.below(second(tmp_path), "app")
    assert groups.memory is None
    assert groups.why_not == f"{top} was not delegated to svcd, and others are in it"
    assert not (top / "svcd.app.daemon").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="sets an attribute that only root may")
def test_the_mark_of_systemd_makes_it_ours(tmp_path: Path) -> None:
    """Also when svcd was started in a leaf of it, as DelegateSubgroup= does and svcd itself after a restart."""
    top = make(tmp_path / "cg/svc", cgroup__procs="", cgroup__controllers="memory", cgroup__subtree_control="memory")
    leaf = make(top / "svcd.app.daemon", cgroup__procs="1", cgroup__controllers="")
    try:
        os.setxattr(top, "trusted.delegate", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    (top / "cgroup.subtree_control").unlink()
    (top / "cgroup.subtree_control").symlink_to(make(tmp_path / "fixed", control="memory") / "control")
    groups = ControlGroups.below(second(tmp_path, "/svc/svcd.app.daemon"), "app")
    assert groups.why_not == f"{top} has no memory controller to give"  # the write above went through the link
    assert leaf.exists()


def test_nothing_is_mounted(tmp_path: Path) -> None:
    groups = ControlGroups.below(around(tmp_path, "", "0::/\n"), "app")
    assert (groups.memory, groups.why_not) == (None, "no cgroup file system is mounted")


def test_the_sweep_takes_what_a_keeper_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("svcd.app.A.0.1", "svcd.app.daemon", "svcd.other.A.0.1"):
        (tmp_path / name).mkdir()
    (tmp_path / "svcd.app.B.0.1").mkdir()
    (tmp_path / "svcd.app.B.0.1/child").mkdir()  # it is in use: rmdir refuses
    ControlGroups(memory=tmp_path).sweep("app")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"svcd.app.daemon", "svcd.other.A.0.1", "svcd.app.B.0.1"}


def test_of_this_machine() -> None:
    found = Around.read()
    for group in (*found.first.values(), *([found.second] if found.second else [])):
        assert (group.folder / "cgroup.procs").exists()
    bounds = found.bounds()
    assert bounds.memory is None or bounds.memory > 1 << 20
