"""`kill -9` of any process at any moment over many tasks: each is done as often as its guarantee says, none forgotten.

`SVCD_FAULTS=500` runs so many tasks, as `make faults` does; `SVCD_SEED` repeats a run.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import svcd
from running import PATIENCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp
    from running import RunningApp

TASKS = int(os.environ.get("SVCD_FAULTS", "60"))
SEED = int(os.environ.get("SVCD_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
PROCESSES = ("daemon", "guard", "keeper", "ingress/0", "ingress/1", "Work/0", "Work/1", "Helper/0")
PER_KILL = 5
"""Tasks that are submitted around each death."""
MOST_IN_A_ROW = 4
"""Deaths of one replica under one daemon: the fifth in a row would be one too many, and the service given up."""
LONG = 60.0
"""Seconds for an app under fire to come to rest; a failure, never an expectation."""

SERVICE = """
    import time
    from pathlib import Path

    import svcd
    import trio

    NOTES = Path(__file__).parent / "notes"

    def note(word, key):
        # One write with O_APPEND is whole or not there, whatever kills the process.
        with open(NOTES, "ab", buffering=0) as file:
            file.write(f"{word} {key}\\n".encode())

    @svcd.service
    class Helper:
        @svcd.api
        async def work(self, seconds: float) -> None:
            await trio.sleep(seconds)

    @svcd.service(traffic={"max_concurrency": 4}, threads=2)
    class Work:
        helper = svcd.depends(Helper)

        @svcd.task
        async def once(self, key: str, seconds: float) -> str:
            note("begin", key)
            await self.helper.work(seconds=seconds)
            note("end", key)
            return key

        @svcd.task(idempotent=True, retries=1000)
        def again(self, key: str, seconds: float) -> str:
            note("begin", key)
            time.sleep(seconds)
            note("end", key)
            return key
"""
TOML = """
    [app.ingress]
    replicas = 2
    [services.Work]
    scaling = { min_replicas = 2, max_replicas = 2 }
"""


def notes(folder: Path, word: str) -> Counter[str]:
    """How often each key began, or ended."""
    path = folder / "notes"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.partition(" ")[2] for line in lines if line.startswith(f"{word} "))


def key_of(number: int) -> str:
    """Name a task, which is its id as well; every other one is idempotent."""
    return f"{('once', 'again')[number % 2]}-{number:05}"


class Submitter(threading.Thread):
    """Submits tasks one after the other, and notes those that were accepted."""

    def __init__(self, app: RunningApp, count: int, seed: int) -> None:
        super().__init__(daemon=True)  # a failed test does not wait for it
        self.accepted: list[str] = []
        self.refused = 0
        self._app = app
        self._count = count
        self._permits = threading.Semaphore(0)
        self._chance = random.Random(seed)  # noqa: S311  (as below)

    def permit(self, count: int) -> None:
        """Let it submit so many more."""
        self._permits.release(count)

    def run(self) -> None:
        """Submit each task until it is accepted, under one id, so that no lost answer makes it two."""
        while len(self.accepted) < self._count:
            self._permits.acquire()
            key = key_of(len(self.accepted))
            body = json.dumps({"key": key, "seconds": self._chance.uniform(0, 0.15)}).encode()
            while not self._submit(key, body):
                self.refused += 1
                time.sleep(0.02)
            self.accepted.append(key)

    def _submit(self, key: str, body: bytes) -> bool:
        try:
            with self._app.connection() as connection:
                headers = {"Content-Type": "application/json"}
                connection.request("POST", f"/{key.partition('-')[0]}/submit?task_id={key}", body, headers)
                answer = connection.getresponse()
                answer.read()
                return answer.status == 202
        except (OSError, http.client.HTTPException, IndexError):  # nobody there, or no address yet
            return False


class Killer:
    """Ends one process after the other, and starts the daemon anew where that was the end of the app."""

    def __init__(self, app: RunningApp) -> None:
        self.killed: Counter[str] = Counter()
        self._of_this_start: Counter[str] = Counter()
        self._app = app

    def strike(self, name: str) -> None:
        """Kill a process, whatever the app is doing; have the app running in the end."""
        if self._of_this_start[name] == MOST_IN_A_ROW or (pid := self._pid(name)) is None:
            return
        self._app.processes()
        with suppress(ProcessLookupError):  # it is dead from the last time
            os.kill(pid, signal.SIGKILL)
            self.killed[name] += 1
            self._of_this_start[name] += 1
        if name in {"daemon", "guard", "keeper"}:
            assert self._app.daemon is not None
            self._app.daemon.wait(PATIENCE)
            self._app.assert_gone(within=PATIENCE)
            self._app.up()
            self._of_this_start.clear()

    def _pid(self, name: str) -> int | None:
        assert self._app.daemon is not None
        if name == "daemon":
            return self._app.daemon.pid
        if name in {"guard", "keeper"}:
            return self._app.guard_and_keeper()[name == "keeper"]
        service, _, number = name.partition("/")
        pid: int | None = self._app.row(service, int(number or 0))["pid"]
        return pid


def outcomes(app: RunningApp, accepted: list[str]) -> dict[str, dict[str, Any]]:
    """Wait until every task has ended; return what is told of each, by key."""
    told: dict[str, dict[str, Any]] = {}
    end = time.monotonic() + LONG + len(accepted)
    with svcd.Client(f"unix:{app.runtime}", timeout=20) as client:
        for key in accepted:
            task = getattr(client, key.partition("-")[0]).task(key)
            while key not in told:
                assert time.monotonic() < end, f"{key} has not ended: {task.info()}"
                with suppress(svcd.CallError):  # what became of it is asked for next
                    task.get(timeout=20)
                with suppress(svcd.ServiceUnavailable):  # the ingress is being restarted
                    if (info := task.info())["status"] not in {"queued", "in_progress"}:
                        told[key] = info
    return told


@pytest.mark.timeout(60 + 5 * TASKS)
def test_each_task_is_done_as_often_as_its_guarantee_says(make_app: MakeApp) -> None:
    print(f"SVCD_FAULTS={TASKS} SVCD_SEED={SEED}")  # noqa: T201  (shown when it fails)
    chance = random.Random(SEED)  # noqa: S311  (to be repeated, not to be secret)
    app = make_app(SERVICE, TOML, entry="Work").up()
    submitter, killer = Submitter(app, TASKS, SEED), Killer(app)
    rounds = TASKS // PER_KILL
    victims = [PROCESSES[number % len(PROCESSES)] for number in range(rounds)]
    chance.shuffle(victims)
    submitter.start()
    for victim in victims:
        submitter.permit(PER_KILL)
        time.sleep(chance.uniform(0, 0.4))  # when it strikes is the experiment; nothing is waited for
        killer.strike(victim)
        wait_until(lambda: app.row("ingress")["state"] == "ready", "the ingress to be back")
    submitter.permit(TASKS)
    submitter.join()
    told = outcomes(app, submitter.accepted)

    begun, ended = notes(app.folder, "begin"), notes(app.folder, "end")
    statuses: Counter[tuple[str, str]] = Counter()
    for number in range(TASKS):
        key = key_of(number)
        status = told[key]["status"]
        statuses[key.partition("-")[0], status] += 1
        if key.startswith("again"):
            assert status == "success", (key, told[key]["error"], told[key])
            assert ended[key] >= 1, key
        else:
            assert begun[key] <= 1, key
            assert status in {"success", "failure", "lost"}, (key, told[key])
            assert ended[key] == 1 or status != "success", key
        assert told[key]["attempts"] >= begun[key], key
    print(  # noqa: T201  (the figures)
        f"{TASKS} tasks, {sum(killer.killed.values())} kills {dict(killer.killed)}: {dict(statuses)},"
        f" {sum(begun.values())} runs begun, {sum(ended.values())} ended, {submitter.refused} submissions refused"
    )
