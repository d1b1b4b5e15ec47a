"""What daemon and keeper cost while many replicas have nothing to do. `make faults` has 200 of them."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from fault_app import SECONDS

from running import wait_until
from svcd.host.processes import read_stat

if TYPE_CHECKING:
    from conftest import MakeApp

IS_LONG = SECONDS >= 60
REPLICAS = int(os.environ.get("SVCD_FAULT_REPLICAS", "200" if IS_LONG else "8"))
TICK = 1 / os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGESIZE")
QUIET = 20.0 if IS_LONG else 1.0
"""Seconds that are watched; a second is too short to tell a hundredth of a core from nothing."""

SERVICE = """
    import svcd

    @svcd.service
    class Idle:
        @svcd.api
        async def nothing(self) -> None:
            pass
"""
TOML = f"""
    [services.Idle]
    start_timeout = "20m"
    scaling = {{ min_replicas = {REPLICAS}, max_replicas = {REPLICAS} }}
"""


@pytest.mark.timeout(1800)
def test_many_replicas_idle(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Idle")
    app.up(wait=False)
    wait_until(lambda: "ready after" in app.stderr, "the first to be ready", within=1200)
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "all to be ready", within=1200)
    assert app.daemon is not None
    ours = {"daemon": app.daemon.pid, **dict(zip(("guard", "keeper"), app.guard_and_keeper(), strict=True))}
    app.rows()
    before, began = {name: _ticks(pid) for name, pid in ours.items()}, time.monotonic()
    time.sleep(QUIET)  # nothing is waited for: what is measured is that nothing happens
    seconds = time.monotonic() - began
    percent = {name: 100 * TICK * (_ticks(pid) - before[name]) / seconds for name, pid in ours.items()}
    memory = {name: _resident(pid) / 2**20 for name, pid in ours.items()}
    asked = time.monotonic()
    assert len(app.rows()) == REPLICAS + 1
    answered = time.monotonic() - asked
    print(f"{REPLICAS} idle: % of a core {percent}, MiB {memory}, ps answered after {answered:.3f} s")  # noqa: T201  (the figures)
    assert not IS_LONG or sum(percent.values()) < 1
    assert sum(memory.values()) < 100


def _ticks(pid: int) -> int:
    stat = read_stat(pid)
    assert stat is not None
    return stat.cpu_ticks


def _resident(pid: int) -> int:
    stat = read_stat(pid)
    assert stat is not None
    return stat.resident * PAGE
