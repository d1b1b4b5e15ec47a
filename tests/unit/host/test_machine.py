"""What a machine has: of its topology as the kernel writes it down, and of this one."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

import psutil
import pytest

from svcd.host.cgroup_tree import Bounds
from svcd.host.limits import too_high
from svcd.host.machine import read_machine
from svcd.host.users import UnknownUserError, find_user
from svcd.values.machine import Cpu

if TYPE_CHECKING:
    from pathlib import Path


def test_this_machine() -> None:
    machine = read_machine(Bounds())
    assert [cpu.number for cpu in machine.cpus] == sorted(os.sched_getaffinity(0))
    assert machine.memory == psutil.virtual_memory().total
    assert machine.cpu_limit is None


def test_limits_around_svcd_count() -> None:
    machine = read_machine(Bounds(cpu=1.5, memory=1 << 30))
    assert (machine.cpu_limit, machine.memory) == (1.5, 1 << 30)
    assert read_machine(Bounds(memory=1 << 60)).memory == psutil.virtual_memory().total


def test_nodes_and_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda self: [0, 1, 2, 5])
    for node, cpus in {"node0": "0-1,4-5\n", "node1": "2-3\n"}.items():
        (tmp_path / "node" / node).mkdir(parents=True)
        (tmp_path / "node" / node / "cpulist").write_text(cpus)
    for cpu, siblings in {0: "0,4", 1: "1,5", 5: "1,5"}.items():
        (tmp_path / f"cpu/cpu{cpu}/topology").mkdir(parents=True)
        (tmp_path / f"cpu/cpu{cpu}/topology/thread_siblings_list").write_text(siblings + "\n")
    assert read_machine(Bounds(), tmp_path).cpus == (Cpu(0, 0, 0), Cpu(1, 1, 0), Cpu(2, 2, 1), Cpu(5, 1, 0))


def test_limits_that_only_root_can_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (10, 100 if which == resource.RLIMIT_NOFILE else -1))
    assert too_high({"nofile": 101, "nproc": 7, "core": -1}, privileged=False) == {"nofile": 100}
    assert too_high({"nofile": -1}, privileged=False) == {"nofile": 100}
    assert too_high({"nofile": 100}, privileged=False) == {}
    assert too_high({"nofile": 101}, privileged=True) == {}


def test_users() -> None:
    root = find_user("root", "")
    assert (root.name, root.uid, root.gid, root.home) == ("root", 0, 0, "/root")
    assert find_user("0", "") == root
    assert find_user("root", "3").groups == (3,)
    nameless = find_user("1234567", "")
    assert (nameless.uid, nameless.gid, nameless.groups, nameless.home) == (1234567, 1234567, (1234567,), "/")
    assert "USER" not in nameless.variables
    with pytest.raises(UnknownUserError, match="no user nobody-of-this-name on this machine"):
        find_user("nobody-of-this-name", "")
    with pytest.raises(UnknownUserError, match="no group no-such-group on this machine"):
        find_user("root", "no-such-group")


def test_nobody_is_to_become_who_it_is() -> None:
    assert find_user(str(os.geteuid()), str(os.getegid())).ids_to_become() == []
