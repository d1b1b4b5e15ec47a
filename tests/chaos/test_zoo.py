"""Ill-behaved children as services of a running app: stopped without leftovers, within their limits.

The children are those that the keeper is tried with, tests/integration/keeper/zoo.py. `SVCD_FAULT_SECONDS=60` has each
restarted again and again for so long, as `make faults` does.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fault_app import SECONDS

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

pytestmark = pytest.mark.timeout(180 + 2 * SECONDS)

ZOO = Path(__file__).parents[1] / "integration" / "keeper" / "zoo.py"
IS_LONG = SECONDS >= 60
DEAF = {"IgnoresTerm": "ignores_term", "StopsItself": "stops_itself"}
"""Those that SIGTERM does not end."""
WILD = {
    "DaemonizesAndStays": "daemonizes_and_stays",
    "ScrubsAndStays": "scrubs_and_stays",
    "ClosesAll": "closes_all",
    "ForksMany": "forks_many",
    "ChangesItsGroup": "changes_its_group",
    "Hops": "hops",
}
"""Those that leave a note once they are what they are."""
LOUD = {"Floods": "floods"}
SHORT = {
    "DaemonizesAndLeaves": "daemonizes_and_leaves",
    "Binary": "binary",
    "ChildHoldsThePipe": "child_holds_the_pipe",
}
"""Those that end by themselves, and leave something behind or say something odd."""
ALL = DEAF | WILD | LOUD | SHORT
NOTED = DEAF.keys() | WILD.keys()

SERVICE = f"""
    import os

    import svcd

    @svcd.service
    class Closes:
        @svcd.api
        async def everything(self) -> None:
            os.closerange(0, 256)

        @svcd.api
        async def pid(self) -> int:
            return os.getpid()

    @svcd.service
    class Entry:
        closes = svcd.depends(Closes)
        {"".join(f'{name.lower()} = svcd.depends("{name}", optional=True)' + chr(10) + " " * 8 for name in ALL)}
        dies_early = svcd.depends("DiesEarly", optional=True)
        never_ready = svcd.depends("NeverReady", optional=True)

        @svcd.api
        async def ping(self) -> int:
            return 1
"""
LIMITS = 'drain_timeout = "100ms"\nrestart = "never"\n'
SHORT_STOP, LONG_STOP = 'stop_timeout = "1s"\n', 'stop_timeout = "20s"\n'
"""For those that have to be killed, and for those that end at once, however late the machine lets them."""
OTHERS = f"""
[services.DiesEarly]
command = ["sh", "-c", "echo dying; exit 3"]
readiness.exec = ["false"]
restart = "never"
[services.NeverReady]
command = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
readiness.exec = ["false"]
start_timeout = "300ms"
{LIMITS + SHORT_STOP}
"""
KILLED = "not gone within its stop_timeout of "


def test_each_is_stopped_without_leftovers(make_app: MakeApp) -> None:
    app = make_app(SERVICE, "".join(map(_table, ALL)) + OTHERS, entry="Entry")
    shutil.copy(ZOO, app.folder)
    app.up()
    _wait_until_all_are_wild(app)
    wait_until(lambda: app.row("NeverReady")["state"] == "failed", "the one that is never ready to be given up")
    assert "not ready within its start limit of 0.3 s" in app.row("NeverReady")["reason"]
    wait_until(lambda: app.row("DiesEarly")["state"] == "failed", "the one that dies early to be given up")
    assert app.row("DiesEarly")["last_exit"] == "exited with status 3"
    assert "\N{REPLACEMENT CHARACTER}" in app.log("Binary.0")
    assert app.log("Binary.0").endswith("after\n")

    before = app.row("Closes")["pid"]
    app.svcd("call", "Closes.everything", code=1)
    assert wait_until(lambda: _pid_of_closes(app, before), "one that closed its descriptors to be replaced")

    restarts, end = 0, time.monotonic() + (SECONDS if IS_LONG else 0)
    while time.monotonic() < end:
        count = len(app.processes())
        for name in NOTED | LOUD.keys():
            (app.folder / f"{name}.note").unlink(missing_ok=True)
            app.svcd("restart", name)
        restarts += 1
        _wait_until_all_are_wild(app)
        wait_until(lambda count=count: len(app.processes()) == count, "what was there before the restart, and no more")
    print(f"{restarts} restarts of each; {len(app.processes())} processes before the end")  # noqa: T201  (the figures)
    assert app.post("ping") == (200, 1)

    app.svcd("down")
    app.assert_gone()
    killed = {event["service"] for event in _events(app) if event["reason"].startswith(KILLED)}
    assert killed - {"NeverReady"} == DEAF.keys(), "the others are gone within their stop limit"
    assert not any(event["reason"].startswith("SIGKILL has not ended it") for event in _events(app))


def _table(name: str) -> str:
    command = json.dumps([sys.executable, "zoo.py", ALL[name], f"{name}.note"])
    return f"[services.{name}]\ncommand = {command}\n{LIMITS}{SHORT_STOP if name in DEAF else LONG_STOP}"


def _wait_until_all_are_wild(app: RunningApp) -> None:
    for name in NOTED:
        wait_until((app.folder / f"{name}.note").exists, f"{name} to have begun")
    states = {name: {"done", "failed"} if name in SHORT else {"ready"} for name in ALL}
    wait_until(lambda: all(app.row(name)["state"] in states[name] for name in ALL), "each to be in its state")


def _pid_of_closes(app: RunningApp, before: int) -> int | None:
    row = app.row("Closes")
    return row["pid"] if row["state"] == "ready" and row["pid"] != before else None


def _events(app: RunningApp) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.svcd("events", "--json").stdout.splitlines()]
