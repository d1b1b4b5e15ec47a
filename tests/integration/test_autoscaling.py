"""Replicas that come and go with the calls of real clients."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

APP = """
    import os
    from pathlib import Path

    import svcd
    import trio

    @svcd.service(traffic={"concurrency": 2})
    class Worker:
        @svcd.api
        async def pid(self, until: str) -> int:
            while not Path(until).exists():
                await trio.sleep(0.01)
            return os.getpid()

    @svcd.service
    class Entry:
        worker = svcd.depends(Worker)

        @svcd.api
        async def pid(self, until: str) -> int:
            return await self.worker.pid(until)
"""
TOML = """
    [services.Worker]
    scaling = { max_replicas = 3, down_after = "500ms" }
"""


def ready(app: RunningApp) -> list[int]:
    return [row["pid"] for row in app.rows() if row["service"] == "Worker" and row["state"] == "ready"]


def changes(app: RunningApp) -> list[tuple[str, str, str]]:
    """The numbers of replicas that were decided on, with the reasons."""
    events = map(json.loads, app.svcd("events", "Worker", "--json").stdout.splitlines())
    return [(each["from"], each["to"], each["reason"]) for each in events if each["kind"] == "scale"]


def test_replicas_follow_the_load_and_no_call_is_lost(make_app: MakeApp) -> None:
    app = make_app(APP, TOML, entry="Entry").up()
    (first,) = ready(app)
    released = app.base / "released"
    with ThreadPoolExecutor(16) as pool:
        try:
            calls = [pool.submit(app.post, "pid", {"until": str(released)}) for _ in range(5)]
            wait_until(lambda: len(ready(app)) == 3, "three replicas")
            more = [pool.submit(app.post, "pid", {"until": str(released)}) for _ in range(10)]
        finally:
            released.touch()
        answers = [call.result() for call in (*calls, *more)]
        assert {status for status, _ in answers} == {200}
        wait_until(lambda: ready(app) == [first], "one replica")
        assert {app.post("pid", {"until": str(released)})[0] for _ in range(20)} == {200}
    told = changes(app)
    assert told[-1][1] == "1"
    assert max(int(to) for _, to, _ in told) == 3
    assert told[0][2].endswith("in flight and waiting, 2 per replica")
    assert re.fullmatch(r"at most (0 calls|1 call|2 calls) in flight and waiting for 0.5 s, 2 per replica", told[-1][2])


def test_an_operator_s_number_stays(make_app: MakeApp) -> None:
    app = make_app(APP, TOML, entry="Entry").up()
    app.svcd("scale", "Worker=2")
    wait_until(lambda: len(ready(app)) == 2, "two replicas")
    released = app.base / "released"
    with ThreadPoolExecutor(16) as pool:
        try:
            calls = [pool.submit(app.post, "pid", {"until": str(released)}) for _ in range(12)]
            wait_until(
                lambda: [row["in_flight"] for row in app.rows() if row["service"] == "Worker"] == [6, 6], "12 calls"
            )
        finally:
            released.touch()
        assert {call.result()[0] for call in calls} == {200}
    assert changes(app) == [("1", "2", "svcd scale")]
    assert json.loads(app.svcd("config", "--json", "services.Worker.scaling.max_replicas").stdout)
