"""Many operators at once: their commands are done one after the other, and no replica ever runs twice.

`SVCD_FAULT_SECONDS=60` is the long form, as `make faults` has it; `SVCD_SEED` repeats the commands, not their timing.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import pytest
from fault_app import SECONDS, SEED, SERVICE, TWO_OF_EACH

from running import wait_until
from svcd.host.processes import all_pids, environment_of, read_stat

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

SHELLS = 20
EACH = 1 if SECONDS < 60 else 20
"""Commands of each shell."""
COMMANDS = {
    ("ps",): ({0, 1, 3}, 4),
    ("status",): ({0, 1, 3}, 2),
    ("restart", "Work"): ({0, 1, 3}, 3),
    ("restart", "Work/1"): ({0, 1, 3, 4}, 1),
    ("restart", "Entry/0"): ({0, 1, 3, 4}, 3),
    ("scale", "Work=1"): ({0, 1, 3}, 3),
    ("scale", "Work=3"): ({0, 1, 3}, 3),
    ("down",): ({0, 3}, 1),
    ("up", "-d"): ({0, 1}, 1),
    ("up", "-d", "--wait"): ({0, 1}, 2),
}
"""Each with the exit codes that it may have, and how often it comes. 1 is where somebody else was quicker, or ended the
app meanwhile. Nobody hangs, is left without a word, or sees a traceback."""
WEIGHTS = tuple(weight for _, weight in COMMANDS.values())


class Census(threading.Thread):
    """Looks at /proc again and again for replicas that there are twice."""

    def __init__(self, app: RunningApp) -> None:
        super().__init__(daemon=True)
        self.twice: list[set[str]] = []
        self.looks = 0
        self._app = app
        self._ending = threading.Event()

    def run(self) -> None:
        """Look until told to end."""
        while not self._ending.wait(0.01):
            self.looks += 1
            if len(generations := self.twice_now()) and (again := self.twice_now()):
                # What is seen in two looks in a row is no process that had just ended while it was looked at.
                self.twice += [both for both in generations if both in again]

    def end(self) -> None:
        """Look no more."""
        self._ending.set()
        self.join()

    def twice_now(self) -> list[set[str]]:
        """The processes, and what they are of, of each replica that has more than one just now."""
        found: dict[str, set[str]] = defaultdict(set)
        for pid in all_pids():
            stat = read_stat(pid)
            if stat is None or stat.state in {"Z", "X"} or environment_of(pid, "SVCD_APP") != self._app.name:
                continue
            process = environment_of(pid, "SVCD_REPLICA") or ""
            # Without "/" it reads the graph. What a replica started itself is no replica: trio, when it is imported,
            # runs `ldconfig`, and a child shows the environment of whoever forked it until its exec.
            if "/" in process and environment_of(stat.parent, "SVCD_REPLICA") != process:
                found[process.partition("#")[0]].add(f"{process} of {pid}")
        return [processes for processes in found.values() if len(processes) > 1]


def test_a_second_process_of_a_replica_is_seen_and_its_own_children_are_not(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Entry")
    env = {"SVCD_APP": app.name, "SVCD_REPLICA": "Work/0#1", **app.mark}
    parent = [sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])", "sleep", "60"]
    census = Census(app)
    with subprocess.Popen(parent, env=env) as first:
        try:
            wait_until(lambda: len(app.processes()) == 2, "the parent and its child")
            assert census.twice_now() == []
            with subprocess.Popen(["sleep", "60"], env={**env, "SVCD_REPLICA": "Work/0#2"}) as second:
                both = {f"Work/0#1 of {first.pid}", f"Work/0#2 of {second.pid}"}
                wait_until(lambda: census.twice_now() == [both], "the second to be seen")
                second.kill()
            assert census.twice_now() == []
        finally:
            for pid in app.processes():
                os.kill(pid, signal.SIGKILL)


def shell(app: RunningApp, seed: int, outcomes: Counter[str], wrong: list[str]) -> None:
    """Give random commands, one after the other."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    for _ in range(EACH):
        time.sleep(chance.uniform(0, 0.3))
        (words,) = chance.choices(list(COMMANDS), WEIGHTS)
        done = app.svcd(*words, code=None)
        outcomes[f"{' '.join(words)}: {done.returncode}"] += 1
        codes, _ = COMMANDS[words]
        is_told = done.returncode == 0 or done.stderr.strip()
        if done.returncode not in codes or not is_told or "Traceback" in done.stderr:
            wrong.append(f"{words} exited with {done.returncode}: {done.stderr}")


@pytest.mark.timeout(120 + 10 * SECONDS)
def test_commands_of_twenty_shells(make_app: MakeApp) -> None:
    print(f"SVCD_FAULT_SECONDS={SECONDS:g} SVCD_SEED={SEED}")  # noqa: T201  (shown when it fails)
    app = make_app(SERVICE, TWO_OF_EACH, entry="Entry")
    app.svcd("up", "-d", "--wait")
    census = Census(app)
    census.start()
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    shells = [
        threading.Thread(target=shell, args=(app, SEED + number, outcomes, wrong), daemon=True)
        for number in range(SHELLS)
    ]
    for each in shells:
        each.start()
    for each in shells:
        each.join()
    app.svcd("up", "-d", "--wait", code=None)
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "rest after all that")
    census.end()
    print(f"{sum(outcomes.values())} commands, {census.looks} looks: {dict(outcomes)}")  # noqa: T201  (the figures)
    assert outcomes.total() == SHELLS * EACH
    assert wrong == []
    assert census.looks > 10
    assert census.twice == []
    assert sorted(row["replica"] for row in app.rows() if row["service"] == "Entry") == [0, 1]
    assert app.svcd("down").stdout == "stopped\n"
    assert not app.processes()
    assert "Traceback" not in app.log("daemon")
