"""`app.colocate`: services that share a process, under a real `svcd up`; tests/graphs has what they answer."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from fakenvml.box import Box
from running import PATIENCE, RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import MakeApp

APP = '''
    import os
    import threading
    from pathlib import Path

    import svcd
    import trio

    HERE = Path(__file__).parent

    @svcd.service
    class Low:
        """In the group; called by Mid within the process, and by Entry from outside."""

        @svcd.api
        def pid(self) -> int:
            return os.getpid()

        @svcd.api
        async def nap(self, name: str) -> str:
            (HERE / f"begun-{name}").touch()
            while not (HERE / "wake").exists():
                await trio.sleep(0.01)
            return name

        @svcd.api
        def say(self, text: str) -> None:
            print(text)

        @svcd.on_shutdown
        async def close(self) -> None:
            print("Low is closed")

    @svcd.service
    class Mid:
        low = svcd.depends(Low)

        @svcd.api
        async def pids(self) -> list[int]:
            return [os.getpid(), await self.low.pid.to_async()]

        @svcd.api
        async def nap(self, name: str) -> str:
            return await self.low.nap(name=name)

        @svcd.api
        async def say(self, text: str) -> None:
            print(text)

        @svcd.on_shutdown
        async def close(self) -> None:
            print(f"Mid is closed while Low is there: {await self.low.pid.to_async() == os.getpid()}")

    @svcd.service
    class Entry:
        mid = svcd.depends(Mid)
        low = svcd.depends(Low)

        @svcd.api
        async def pids(self) -> list[int]:
            return [os.getpid(), await self.low.pid.to_async(), *await self.mid.pids()]

        @svcd.api
        async def nap(self, service: str, name: str) -> str:
            try:
                return await getattr(self, service).nap(name=name)
            except svcd.ReplicaLost as error:
                return f"{type(error).__name__}: {error}"
'''
TOGETHER = 'colocate = [["Mid", "Low"]]\n'


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = write_app(tmp_path_factory.mktemp("colocated") / "app", APP, TOGETHER, entry="Entry")
    with RunningApp(folder) as app:
        yield app.up()


def test_members_share_a_process_and_others_call_them_as_ever(app: RunningApp) -> None:
    """What `colocate` is for."""
    entry, low, mid, low_of_mid = app.post("pids")[1]
    assert entry != low == mid == low_of_mid


def test_ps_has_a_row_for_each_member(app: RunningApp) -> None:
    mid, low = app.row("Mid"), app.row("Low")
    assert mid["pid"] == low["pid"] != app.row("Entry")["pid"]
    assert (mid["process"], low["process"], app.row("Entry")["process"]) == ("Mid/0", "Mid/0", "Entry/0")
    assert mid["version"] == low["version"]
    lines = {line.split()[0]: line for line in app.svcd("ps").stdout.splitlines()}
    assert lines["Low/0"].endswith("in the process of Mid/0")
    assert lines["Low/0"].count('"') == 3
    assert '"' not in lines["Mid/0"]


def test_commands_take_either_name(app: RunningApp) -> None:
    assert json.loads(app.svcd("call", "Low.pid").stdout) == app.row("Mid")["pid"]
    environment = json.loads(app.svcd("env", "Low", "--json").stdout)
    assert environment == json.loads(app.svcd("env", "mid", "--json").stdout)
    assert environment["SVCD_SERVICE"] == "Mid"
    assert environment["SVCD_REPLICA"].startswith("Mid/0#")


def test_the_log_is_that_of_the_process(app: RunningApp) -> None:
    assert app.svcd("call", "Mid.say", '{"text": "from the middle"}').returncode == 0
    assert app.svcd("call", "Low.say", '{"text": "from below"}').returncode == 0
    wait_until(lambda: "from below" in app.log("Mid.0"), "what was printed to be in the log")
    for name in ("Mid", "Low", "low/0"):
        printed = app.svcd("logs", name).stdout
        assert "from the middle" in printed
        assert "from below" in printed
    assert app.svcd("logs", "Entry", "Nobody", code=4).stdout == ""


def test_events_are_those_of_the_process(app: RunningApp) -> None:
    for name in ("Mid", "Low", "low/0"):
        assert "Mid/0 #1" in app.svcd("events", name).stdout


def in_the_background(app: RunningApp, service: str, name: str) -> Future[Any]:
    """Begin a nap by way of the entry, and return when it has begun."""
    answer: Future[Any] = Future()
    Thread(target=lambda: answer.set_result(app.post("nap", {"service": service, "name": name})[1])).start()
    wait_until((app.folder / f"begun-{name}").exists, f"the nap {name} to begin")
    return answer


def test_they_die_and_come_back_together_and_callers_see_it(app: RunningApp) -> None:
    lost = [in_the_background(app, service, f"lost-{service}") for service in ("mid", "low")]
    assert (app.row("Mid")["in_flight"], app.row("Low")["in_flight"]) == (1, 2)
    before = app.row("Low")["pid"]
    os.kill(before, signal.SIGKILL)
    told = [answer.result(PATIENCE) for answer in lost]
    assert re.fullmatch(rb"ReplicaLost: Mid.nap: Mid/0#\d+ was lost .*", told[0])
    assert re.fullmatch(rb"ReplicaLost: Low.nap: Mid/0#\d+ was lost .*", told[1])
    pids = app.post("pids")[1]  # waits for the new process
    assert pids[1] == pids[2] == pids[3] != before
    assert [(app.row(name)["restarts"], app.row(name)["last_exit"]) for name in ("Mid", "Low")] == [
        (1, "killed by SIGKILL")
    ] * 2


def test_they_are_scaled_together_and_lose_no_call(app: RunningApp) -> None:
    assert app.svcd("scale", "low=2").stdout == "Low: 1 -> 2 replicas, with Mid in its process\n"
    wait_until(lambda: [row["state"] for row in app.rows()].count("ready") == 6, "the second process")
    rows = {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}
    assert rows["Mid/0"] == rows["Low/0"] != rows["Mid/1"] == rows["Low/1"]
    seen: set[tuple[int, int]] = set()
    wait_until(lambda: seen.add(tuple(app.post("pids")[1][2:])) or len(seen) == 2, "a call to each process")
    assert {mid == low for mid, low in seen} == {True}
    scaling = json.loads(app.svcd("config", "services.Mid.scaling", "--json").stdout)["services"]["Mid"]["scaling"]
    assert (scaling["min_replicas"], scaling["max_replicas"]) == (2, 2)

    # Both processes have a call, of which one goes: what runs in it may still call on within it.
    naps = [in_the_background(app, "mid", f"left-{index}") for index in range(2)]
    assert [app.row("Mid", index)["in_flight"] for index in range(2)] == [1, 1]
    assert app.svcd("scale", "Mid=1").stdout == "Mid: 2 -> 1 replicas, with Low in its process\n"
    wait_until(lambda: app.row("Low", 1)["state"] == "draining", "the second process to drain")
    (app.folder / "wake").touch()
    assert sorted(nap.result(PATIENCE) for nap in naps) == [b"left-0", b"left-1"]
    wait_until(lambda: len(app.rows()) == 4, "the second process to go")
    (app.folder / "wake").unlink()
    lines = [line.split(" ", 1)[1] for line in app.log("Mid.1").splitlines()]
    assert lines == ["Mid is closed while Low is there: True", "Low is closed"]


def test_what_fails_at_the_start_is_named(make_app: MakeApp) -> None:
    broken = APP.replace("    @svcd.service\n    class Mid:\n", BREAKS, 1)
    app = make_app(broken, TOGETHER, entry="Entry").up(wait=False)
    wait_until(lambda: app.daemon_ended, "the app to give up")
    assert "init of Mid failed: RuntimeError: no model" in app.stderr
    told = app.log("Mid.0")
    assert told.count("svcd: init of Mid failed: RuntimeError: no model") == 5
    assert told.count("Low is closed") == 5  # as it had been started


BREAKS = """
    @svcd.service
    class Mid:
        def __init__(self) -> None:
            raise RuntimeError("no model")

"""
RESOURCES = """
[services.Mid]
resources = { gpu = 1, cpu = "200m" }

[services.Low]
resources = { gpu = 2, cpu = "300m" }
"""


def test_what_members_need_is_added_up(make_app: MakeApp, tmp_path: Path, nvml_library: Path) -> None:
    env = Box(tmp_path / "box", nvml_library, "[[gpu]]\n" * 4).env
    app = make_app(APP, TOGETHER + RESOURCES, entry="Entry", env=env).up()
    assert len(app.row("Mid")["gpus"]) == 3
    assert app.row("Low")["gpus"] == app.row("Mid")["gpus"]
    environment = json.loads(app.svcd("env", "Low", "--json").stdout)
    assert environment["CUDA_VISIBLE_DEVICES"].split(",") == app.row("Low")["gpus"]
    assert environment["OMP_NUM_THREADS"] == "1"


DIFFERENCE = """
[services.Low]
python = "./python"
envs = { MODE = "fast" }
"""


@pytest.mark.parametrize("command", ["check", "up"])
def test_groups_that_cannot_share_a_process_are_refused(make_app: MakeApp, command: str) -> None:
    app = make_app(APP, TOGETHER + DIFFERENCE, entry="Entry")
    (app.folder / "python").symlink_to(sys.executable)
    told = app.svcd(command, code=1).stderr.replace(f"{app.folder}/", "")
    python, envs = (line for line in told.splitlines() if line.startswith("svcd"))
    shared = "which shares its process (app.colocate, svcd.toml:4)"
    rest = "; say the same for both, or take one out of the group"
    assert python == (
        f'svcd: svcd.toml:7:10: services.Low.python: "./python", but Mid, {shared}, has "{sys.executable}"{rest}'
    )
    assert envs == f'svcd.toml:8:17: services.Low.envs.MODE: "fast", but Mid, {shared}, has no such variable{rest}'
