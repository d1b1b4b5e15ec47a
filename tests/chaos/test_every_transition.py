"""`kill -9` of daemon, keeper or both at every transition of the lifecycle table: nothing is left of it.

Or another daemon takes over what goes on in its grace. All of it is a matter of minutes: `make faults`. `make test`
draws a few, by `SVCD_SEED`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from fault_app import SECONDS, SEED
from lifecycle_ways import CELLS, NATURAL, REACH, Cell, way_to

from leftovers import Deadline
from running import PATIENCE, RunningApp, wait_until
from svcd.policy.lifecycle import Happening, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeApp

IS_LONG = SECONDS >= 60
FATAL_DAEMON = (sys.executable, "-P", str(Path(__file__).with_name("fatal_daemon.py")))
GRACE = 0.5
DELAYS = (None, 0.0, 0.002, 0.02)
"""Seconds from the transition to the deaths, when what it orders is on its way. None: before it does anything."""
BRANCHES = [
    # (who is killed, the grace, whether another daemon comes)
    (("daemon",), "", False),
    (("keeper",), "", False),
    (("daemon", "keeper"), "", False),
    (("daemon",), f"{GRACE}s", False),
    (("keeper",), "100s", False),
    (("daemon", "keeper"), "100s", False),
    (("daemon",), "100s", True),
]
SHORT = 6
"""How many deaths `make test` has."""


class Case(NamedTuple):
    """One death."""

    cell: Cell
    victims: tuple[str, ...]
    grace: str
    is_followed: bool

    @property
    def needs_two(self) -> bool:
        """Whether there has to be a daemon before the one that dies."""
        return self.cell[1] is Happening.ADOPTED

    def __str__(self) -> str:
        """For the name of the test."""
        followed = "+up" if self.is_followed else ""
        return f"{self.cell[0]}-{self.cell[1]}-{'+'.join(self.victims)}{followed}-{self.grace or 'no'} grace"


ALL = [Case(cell, *branch) for cell in CELLS for branch in BRANCHES]
CASES = [case for case in ALL if case.grace or not case.needs_two]


def test_there_is_a_way_to_every_transition() -> None:
    assert {state for state, _ in CELLS} == set(REACH)
    assert set(NATURAL) <= set(CELLS), "the table has changed: what does not happen any longer needs no way"
    assert set(REACH) == set(State) - {State.STOPPED}


@pytest.mark.parametrize("case", CASES if IS_LONG else range(SHORT), ids=str)
@pytest.mark.timeout(120)
def test_nothing_is_left(make_app: MakeApp, measured: Callable[[str, float], None], case: Case | int) -> None:
    chance = random.Random(f"{SEED} {case}")  # noqa: S311 - a run that can be repeated
    chosen = case if isinstance(case, Case) else chance.choice(CASES)
    delay = chance.choice(DELAYS)
    print(f"SVCD_SEED={SEED} {chosen}, delay {delay}")  # noqa: T201  (shown when it fails)
    app = make_app(way_to(chosen.cell).service, way_to(chosen.cell).toml(chosen.grace), entry="Entry")
    if chosen.needs_two:
        app.up("--set", "app.orphan_grace=100s")
        kill_daemon(app)
    began = die(app, chosen, delay)
    if chosen.is_followed:
        app.up()
        app.svcd("down")
        app.assert_gone()
        return
    wait = GRACE if chosen.victims == ("daemon",) and chosen.grace else 0.0
    deadline = Deadline.promised(after=wait)
    app.assert_gone(within=deadline)
    wait_until(lambda: not left_behind(app), f"no file to be left: {left_behind(app)}", within=deadline)
    measured("kill -9 at any transition: nothing left after", time.monotonic() - began - wait)


def kill_daemon(app: RunningApp) -> None:
    assert app.daemon is not None
    app.processes()  # from now on they are known by pid
    app.daemon.kill()
    app.daemon.wait(PATIENCE)


def die(app: RunningApp, case: Case, delay: float | None) -> float:
    """Have a daemon run up to the transition, and die there; return when it did."""
    way, record = way_to(case.cell), app.folder / "struck.json"
    plan = {
        "state": case.cell[0],
        "happening": case.cell[1],
        "victims": case.victims,
        "delay": delay,
        "orders": dict(way.orders),
        "record": str(record),
    }
    app.up(wait=False, under=(*FATAL_DAEMON, json.dumps(plan)))
    assert app.daemon is not None
    wait_until(lambda: record.exists() or app.daemon_ended, f"{case} to happen")
    assert record.exists(), f"it ended before {case}: {app.stderr}"
    code = app.daemon.wait(PATIENCE)
    began = time.monotonic()
    assert code == (-signal.SIGKILL if "daemon" in case.victims else 1), app.stderr
    app.pids |= {(pid, start) for pid, start in json.loads(record.read_text())}
    return began


def left_behind(app: RunningApp) -> list[str]:
    """Files of sockets, control groups and shared memory."""
    runtime = [f"{folder}/{name}" for folder, folders, files in os.walk(app.runtime) for name in folders + files]
    # Not by Path.glob, which does not bear it that folders of others go meanwhile.
    all_groups = (f"{folder}/{name}" for folder, folders, _ in os.walk("/sys/fs/cgroup") for name in folders)
    groups = [path for path in all_groups if f"/svcd.{app.name}." in path]
    return runtime + groups + [str(path) for path in Path("/dev/shm").glob("*svcd*")]
