"""Processes as /proc shows them, what they use, and telling systemd."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from leftovers import assert_none_left, new_mark
from svcd.host.notify import notify
from svcd.host.ports import holder_of
from svcd.host.processes import children, descendants, environment_of, read_stat
from svcd.host.usage import UsageMeter

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 2**22 + 1
"""A pid that cannot be: the kernel's largest pid_max is 2**22."""


def test_read_stat_of_a_name_with_everything_in_it(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b c"
    program.symlink_to("/bin/sleep")
    with subprocess.Popen([program, "1000"]) as sleeper:
        while (stat := read_stat(sleeper.pid)) is None or stat.name != program.name:
            pass
        sleeper.kill()
    assert (stat.pid, stat.parent, stat.session) == (sleeper.pid, os.getpid(), os.getsid(0))
    assert stat.start > 0
    assert read_stat(sleeper.pid) is None


def test_nobody() -> None:
    assert read_stat(NOBODY) is None
    assert children(NOBODY) == []
    assert list(descendants(NOBODY)) == []
    assert environment_of(NOBODY, "PATH") is None
    assert UsageMeter().look([NOBODY]) == {}


def test_descendants_and_the_spared() -> None:
    mark = new_mark()
    shell = "sleep 1000 & sh -c 'sleep 1000 & echo ready; wait' & wait"
    with subprocess.Popen(
        ["sh", "-c", shell], stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"], **mark}, start_new_session=True
    ) as top:
        assert top.stdout is not None
        assert top.stdout.readline() == b"ready\n"
        below = list(descendants(top.pid))
        assert len(below) == 3
        inner = next(pid for pid in below if children(pid))
        assert len(list(descendants(top.pid, spare=frozenset({inner})))) == 1
        assert environment_of(inner, "SVCD_TEST_MARK") == mark["SVCD_TEST_MARK"]
        assert environment_of(inner, "SVCD_TEST") is None
        os.killpg(top.pid, 9)
    assert_none_left(mark)


def test_children_where_the_kernel_does_not_list_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(["sleep", "1000"]) as sleeper:
        monkeypatch.setattr("svcd.host.processes._LISTS_CHILDREN", False)
        assert sleeper.pid in children(os.getpid())
        sleeper.kill()


KILL = """
import os, subprocess, sys
from svcd.host.processes import become_subreaper, kill_descendants, children
become_subreaper()
spared = subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sh", "-c", "for i in 1 2 3 4 5; do setsid sh -c 'sleep 1000 & sleep 1000 & wait' & done; wait"])
subprocess.Popen(["sleep", "1000"])
left = kill_descendants(spare=frozenset({spared.pid}), timeout=10)
assert left == [], left
assert children(os.getpid()) == [spared.pid]
assert spared.poll() is None
assert kill_descendants(timeout=10) == []
assert children(os.getpid()) == []
spared.returncode = -9
"""


def test_kill_descendants_spares_and_then_does_not() -> None:
    mark = new_mark()
    subprocess.run([sys.executable, "-c", KILL], env={**os.environ, **mark}, check=True)
    assert_none_left(mark)


def test_usage_is_of_the_whole_tree_and_since_the_last_look() -> None:
    now = 100.0
    meter = UsageMeter(clock=lambda: now)
    spin = "import os; os.fork(); print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-S", "-c", spin], stdout=subprocess.PIPE, start_new_session=True) as top:
        assert top.stdout is not None
        top.stdout.readline()
        assert meter.look([top.pid])[top.pid].cpu_percent == 0
        stat = read_stat(top.pid)
        assert stat is not None
        while (later := read_stat(top.pid)) is not None and later.cpu_ticks < stat.cpu_ticks + 20:
            pass
        now += 1.0
        usage = meter.look([top.pid])[top.pid]
        os.killpg(top.pid, 9)
    assert usage.cpu_percent >= 19  # the child adds what it got
    assert usage.rss_bytes > 2 * 1024 * 1024


@pytest.mark.parametrize("abstract", [False, True])
def test_notify(tmp_path: Path, abstract: bool) -> None:
    name = f"svcd-test-{os.getpid()}"
    path = f"\0{name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        environ = {"NOTIFY_SOCKET": f"@{name}" if abstract else path}
        assert notify(environ, READY=1, STATUS="2 of 3\nready")
        assert manager.recv(1000) == b"READY=1\nSTATUS=2 of 3 ready\n"


@pytest.mark.parametrize("address", [None, "", "nonsense", "/nowhere/notify", "@nobody-listens"])
def test_notify_when_nobody_listens(address: str | None) -> None:
    assert not notify({} if address is None else {"NOTIFY_SOCKET": address}, READY=1)


def test_the_holder_of_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        stat = read_stat(os.getpid())
        assert stat is not None
        assert holder_of(port) == (os.getpid(), stat.name)
    assert holder_of(port) is None
