"""What `[app.tasks]` says, seen in a running app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from task_app import SERVICE, runs

from running import RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[app.tasks]
store = "kept/here"
concurrency = 1
max_queued = 2
max_size = "256Ki"
result_ttl = "1s"
"""


def test_each_setting_has_its_effect(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "work", SERVICE, entry="Work")
    with (folder / "svcd.toml").open("a") as toml:
        toml.write(TOML)
    with RunningApp(folder).up() as app, httpx.Client(base_url=app.url, timeout=30, trust_env=False) as http:

        def submit(key: str, seconds: float) -> httpx.Response:
            return http.post("/once/submit", json={"key": key, "seconds": seconds})

        def status(answer: httpx.Response) -> Any:
            return http.get("/once/status", params={"task_id": answer.json()["task_id"]}).json().get("status")

        first = submit("first", 600)
        wait_until(lambda: runs(folder)["first"], "it to begin")
        others = [submit("second", 0), submit("third", 600)]
        assert [status(answer) for answer in others] == ["queued", "queued"], "concurrency"
        full = submit("fourth", 0)
        assert (full.status_code, full.json()["error"]["code"]) == (429, "queue_full"), "max_queued"
        http.put("/once/cancel", params={"task_id": first.json()["task_id"]})
        wait_until(lambda: runs(folder)["third"], "the next ones to be begun, one after the other")
        wait_until(lambda: status(others[0]) is None, "the result to be forgotten: result_ttl")
        large = submit("x" * 300_000, 0)
        assert (large.status_code, large.json()["error"]["code"]) == (507, "storage"), "max_size"
        assert (folder / "kept" / "here").is_file(), "store"
        http.put("/once/cancel", params={"task_id": others[1].json()["task_id"]})
