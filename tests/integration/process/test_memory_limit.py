"""A replica that takes more memory than it may: killed by the kernel in its control group, else by the watch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from probe import SERVICE, call, start

from running import wait_until
from svcd.host.cgroup_tree import Around, ControlGroups

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

TOML = '[services.Probe]\nresources.memory = "200Mi"'
HIDE = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/fs/cgroup && exec "$@"', "sh")
"""Takes the control groups away, as on a machine where none are delegated."""


def overeat(app: RunningApp) -> str:
    """Have the replica take too much; return how it ended, once there is another."""
    app.svcd("call", "Probe.eat", '{"mib": 400}', code=None)
    row = wait_until(
        lambda: next((r for r in app.rows() if r["service"] == "Probe" and r["restarts"]), None), "a restart"
    )
    wait_until(lambda: app.row("Probe")["state"] == "ready", "the next one")
    assert app.row("Neighbour")["restarts"] == 0
    return str(row["last_exit"])


@pytest.mark.cgroup
def test_the_kernel_ends_it_in_its_control_group(make_app: MakeApp) -> None:
    folder = ControlGroups.below(Around.read(), "probe").memory
    assert folder is not None
    app = make_app(SERVICE, TOML, entry="Probe").up()
    call(app, "eat", mib=20)
    assert overeat(app) == "killed by the kernel for memory (its limit is 200Mi)"
    assert "killed by the kernel for memory (its limit is 200Mi)" in app.log("daemon")
    assert [it.name for it in folder.glob(f"svcd.{app.name}.*")] == [f"svcd.{app.name}.Probe.0.2"]
    app.svcd("down")
    assert not list(folder.glob(f"svcd.{app.name}.*"))


@pytest.mark.cgroup
def test_nothing_is_left_of_control_groups_when_the_daemon_is_killed(make_app: MakeApp) -> None:
    folder = ControlGroups.below(Around.read(), "probe").memory
    assert folder is not None
    app = make_app(SERVICE, TOML, entry="Probe").up()
    assert app.daemon is not None
    assert list(folder.glob(f"svcd.{app.name}.*"))
    app.daemon.kill()
    wait_until(lambda: not list(folder.glob(f"svcd.{app.name}.*")), "the groups to go")


@pytest.mark.root
@pytest.mark.parametrize("killed", [("keeper",), ("guard", "keeper")])
def test_groups_that_a_killed_keeper_left_are_swept_by_the_next(make_app: MakeApp, killed: tuple[str, ...]) -> None:
    folder = ControlGroups.below(Around.read(), "probe").memory
    if folder is None:
        pytest.skip("no control groups here")
    app = make_app(SERVICE, TOML, entry="Probe").up()
    pids = dict(zip(("guard", "keeper"), app.guard_and_keeper(), strict=True))
    for name in killed:
        os.kill(pids[name], 9)
    wait_until(lambda: app.daemon_ended, "the daemon to end")
    app.up()
    assert [it.name for it in folder.glob(f"svcd.{app.name}.*")] == [f"svcd.{app.name}.Probe.0.1"]


def test_the_watch_ends_it_where_there_is_no_control_group(make_app: MakeApp) -> None:
    app = start(make_app(SERVICE, TOML, entry="Probe"), *(HIDE if os.geteuid() == 0 else ()))
    assert "memory of Probe is watched, not enforced: " in app.log("daemon")
    call(app, "eat", mib=20)
    assert overeat(app).startswith("over its memory of 200Mi: it had ")
    assert "ready -> backoff" in app.log("daemon")


@pytest.mark.cgroup
def test_a_fraction_of_a_core_is_all_that_it_gets(make_app: MakeApp) -> None:
    groups = ControlGroups.below(Around.read(), "probe")
    if groups.cpu is None or groups.version != 1:
        pytest.skip("reads the files of version 1")
    app = make_app(SERVICE, '[services.Probe]\nresources.cpu = "250m"', entry="Probe").up()
    folder = Path(groups.cpu / f"svcd.{app.name}.Probe.0.1")
    assert (folder / "cpu.cfs_quota_us").read_text() == "25000\n"
    assert str(app.row("Probe")["pid"]) in (folder / "cgroup.procs").read_text().split()
