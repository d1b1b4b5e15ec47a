"""Changing the number of replicas while calls come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

APP = """
    import os

    import svcd

    @svcd.service
    class Worker:
        @svcd.api
        async def pid(self) -> int:
            return os.getpid()

    @svcd.service
    class Entry:
        worker = svcd.depends(Worker)

        @svcd.api
        async def pid(self) -> int:
            return await self.worker.pid()
"""


def test_more_replicas_take_calls_and_fewer_lose_none(make_app: MakeApp) -> None:
    app = make_app(APP, entry="Entry").up()
    assert app.svcd("scale", "worker=3").stdout == "Worker: 1 -> 3 replicas\n"
    wait_until(
        lambda: [row["state"] for row in app.rows() if row["service"] == "Worker"] == ["ready"] * 3, "3 replicas"
    )
    pids = {row["pid"] for row in app.rows() if row["service"] == "Worker"}
    seen = set()
    wait_until(lambda: seen.add(app.post("pid")[1]) or seen == pids, "a call to each replica")
    app.svcd("scale", "Worker=1")
    answers = [app.post("pid") for _ in range(50)]
    assert {status for status, _ in answers} == {200}
    wait_until(lambda: len([row for row in app.rows() if row["service"] == "Worker"]) == 1, "one replica")
    app.svcd("scale", "Nobody=2", code=4)
    app.svcd("scale", "Worker=0", code=2)
    app.svcd("scale", "Worker", code=2)
