"""`svcd tasks`: what is in the store, while the app runs and after."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
from task_app import SERVICE, runs

from running import RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from pathlib import Path


def submit(http: httpx.Client, api: str, **args: Any) -> str:
    answer = http.post(f"/{api}/submit", json=args)
    assert answer.status_code == 202
    return answer.json()["task_id"]


def ended(http: httpx.Client, api: str, task_id: str) -> None:
    http.get(f"/{api}/get", params={"task_id": task_id, "wait": 20})


def listed(app: RunningApp, *args: str) -> list[dict[str, Any]]:
    return json.loads(app.svcd("tasks", "--json", *args).stdout)


def test_tasks_are_listed_told_of_and_cancelled(work: RunningApp, http: httpx.Client) -> None:
    good, bad, long = submit(http, "once", key="listed"), submit(http, "fail", why="secret"), ""
    ended(http, "once", good)
    ended(http, "fail", bad)
    long = submit(http, "once", key="listed-long", seconds=600)
    wait_until(lambda: runs(work.folder)["listed-long"], "the long one to begin")

    newest = listed(work, "-n", "3")
    assert [(task["task_id"], task["api"], task["status"], task["attempts"]) for task in newest] == [
        (long, "once", "in_progress", 1),
        (bad, "fail", "failure", 1),
        (good, "once", "success", 1),
    ]
    told = http.get("/fail/status", params={"task_id": bad}).json()
    assert newest[1] == {"api": "fail", **told}
    assert all(
        task["status"] in ("failure", "lost") for task in listed(work, "--status", "failure", "--status", "lost")
    )
    assert long in [task["task_id"] for task in listed(work, "--status", "in_progress")]

    table = work.svcd("tasks", "-n", "2")
    header, first, second = table.stdout.splitlines()
    assert header.split() == ["TASK", "API", "STATUS", "AGE", "TOOK", "ATTEMPTS", "REASON"]
    assert first.split()[:3] == [long, "once", "in_progress"]
    assert second.split()[:3] == [bad, "fail", "failure"]
    assert "tasks in all; `-n " in table.stderr

    story = work.svcd("tasks", bad).stdout
    assert story.startswith(f"fail {bad} is failure\n  submitted ")
    assert f"under error {told['error']['id']}" in story
    assert "secret" not in story
    assert f"`svcd tasks {long} --cancel` ends it" in work.svcd("tasks", long).stdout

    assert json.loads(work.svcd("tasks", long, "--cancel", "--json").stdout)["status"] == "cancelled"
    assert http.get("/once/status", params={"task_id": long}).json()["status"] == "cancelled"
    assert "is success" in work.svcd("tasks", good, "--cancel").stdout, "it had ended before"


def test_what_is_wrong_is_told(work: RunningApp, http: httpx.Client) -> None:
    ended(http, "once", submit(http, "once", key="so that there is a store"))
    assert "there is no task nobody: there never was one" in work.svcd("tasks", "nobody", code=1).stderr
    assert "--cancel needs the ID" in work.svcd("tasks", "--cancel", code=2).stderr
    assert "'gone' is not one of" in work.svcd("tasks", "--status", "gone", code=2).stderr
    assert "--status is for the list" in work.svcd("tasks", "x", "--status", "lost", code=2).stderr


def test_the_list_outlives_the_app(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "work", SERVICE, entry="Work")
    with (folder / "svcd.toml").open("a") as toml:
        toml.write('[app.tasks]\nstore = "kept/here"\n')
    with RunningApp(folder) as app:
        none = app.svcd("tasks")
        assert none.stdout.split()[0] == "TASK"
        assert f"no task was ever submitted: there is no {folder}/kept/here" in none.stderr
        app.up()
        with httpx.Client(base_url=app.url, timeout=30, trust_env=False) as http:
            task_id = submit(http, "once", key="a")
            ended(http, "once", task_id)
        app.svcd("down")
        assert [task["task_id"] for task in listed(app)] == [task_id]
        assert "`svcd up` starts it" in app.svcd("tasks", task_id, "--cancel", code=3).stderr
        with closing(sqlite3.connect(folder / "kept" / "here")) as store:
            store.execute("PRAGMA user_version = 9")
        assert "has schema 9, and this svcd knows 1 only" in app.svcd("tasks", code=1).stderr
