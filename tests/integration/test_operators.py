"""What an operator is told of a running app, and orders of it: `svcd events`, `svcd status`, `svcd restart`."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from running import PATIENCE, SVCD, RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = """
    import os
    from pathlib import Path

    import svcd

    HERE = Path(__file__).parent

    @svcd.service
    class Words:
        def __init__(self) -> None:
            print("Words begins")

        @svcd.api
        def crash(self) -> int:
            print("last words", end="", flush=True)
            os._exit(3)

    @svcd.service
    class Picky:
        def __init__(self) -> None:
            if not (HERE / "go").exists():
                raise RuntimeError("no weights:\\nnot one")

    @svcd.service
    class Entry:
        words = svcd.depends(Words)
        picky = svcd.depends(Picky, optional=True)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""
TOML = """
    [services.Words]
    scaling = { min_replicas = 2, max_replicas = 3 }
"""
KEYS = {
    *("time", "kind", "service", "replica", "generation", "from", "to", "reason", "version", "pid", "after"),
    "last_lines",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = write_app(tmp_path_factory.mktemp("app"), SERVICE, TOML, entry="Entry")
    with RunningApp(folder) as app:
        app.up()
        wait_until(lambda: app.row("Picky")["state"] == "failed", "Picky to be given up")
        yield app


def events(app: RunningApp, *options: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in app.svcd("events", "--json", *options).stdout.splitlines()]


def status(app: RunningApp, service: str) -> dict[str, Any]:
    (story,) = json.loads(app.svcd("status", service, "--json").stdout)["services"]
    return story


def settled(app: RunningApp) -> None:
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows() if row["service"] == "Words"), "Words")


def test_every_step_of_a_replica_is_an_event(app: RunningApp) -> None:
    found = events(app, "Picky", "-n", "1000")
    assert all(event.keys() == KEYS for event in found)
    first = [event for event in found if event["generation"] == 1][:3]
    assert [(event["from"], event["to"]) for event in first] == [
        ("pending", "starting"),
        ("starting", "backoff"),
        ("backoff", "pending"),
    ]
    assert first[1]["reason"] == "init failed: RuntimeError: no weights:\nnot one"
    assert first[1]["last_lines"]
    assert [event["to"] for event in events(app, "daemon")] == ["started", "ready"]
    text = app.svcd("events", "picky/0", "-n", "2").stdout.splitlines()
    assert len(text) == 2
    assert "backoff -> failed" in text[1]
    assert stat.S_IMODE((app.logs / "events.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE((app.logs / "daemon.log").stat().st_mode) == 0o600


def test_what_users_order_is_an_event(app: RunningApp) -> None:
    app.svcd("scale", "Words=3")
    settled(app)
    app.svcd("scale", "Words=2")
    orders = [(event["service"], event["from"], event["to"]) for event in events(app, "scale")]
    assert orders[-2:] == [("Words", "2", "3"), ("Words", "3", "2")]
    wait_until(lambda: len([row for row in app.rows() if row["service"] == "Words"]) == 2, "the third to go")


def test_events_are_followed_and_chosen_by_time(app: RunningApp) -> None:
    command = [*SVCD, "events", "--file", str(app.folder / "svcd.toml"), "--set", f"app.name={app.name}", "-f", "-n0"]
    with (app.base / "followed").open("w") as out, subprocess.Popen(command, env=app.env, stdout=out) as follower:

        def follows() -> bool:
            app.svcd("scale", "Entry=1")
            return "scale 1 -> 1" in (app.base / "followed").read_text()

        try:
            wait_until(follows, "an event to be followed")
        finally:
            follower.send_signal(signal.SIGINT)
            assert follower.wait(PATIENCE) == 0
    assert events(app, "--since", "1d")[0]["to"] == "started"
    assert events(app, "--since", "2100-01-01") == []
    app.svcd("events", "--since", "10:42")
    assert "is not an age such as 10m" in app.svcd("events", "--since", "soon", code=2).stderr


def test_events_of_nobody_are_an_error_that_names_who_has_some(app: RunningApp) -> None:
    known = "there are events of Entry, Picky, Words, ingress"
    for name, hint in (("Nope", ""), ("Wards", "; did you mean Words?"), ("Words/7", "; did you mean Words?")):
        done = app.svcd("events", name, code=4)
        assert (done.stdout, done.stderr) == ("", f"svcd: nothing has happened to {name}; {known}{hint}\n")
    assert events(app, "machine") == [], "a kind of which there has been none is no misspelt service"


def test_status_tells_what_is_wanted_what_is_and_why(app: RunningApp) -> None:
    settled(app)
    assert app.svcd("call", "Words.crash", code=1).stderr
    wait_until(lambda: any(row["endings"] for row in status(app, "Words")["replicas"]), "its end to be noticed")
    settled(app)
    (crashed,) = [row for row in status(app, "Words")["replicas"] if row["endings"]]
    ending = crashed["endings"][-1]
    assert (ending["reason"], ending["from"]) == ("exited with status 3", "ready")
    assert ending["last_lines"] == ["Words begins", "last words"]
    assert (crashed["failures"], crashed["budget"]) == (1, 5)
    text = app.svcd("status", "words").stdout
    assert "Words is ready: 2 of 2 replicas ready\n  wants     2 replicas\n  called by Entry\n" in text
    assert "ended after" in text
    assert "      | last words\n" in text
    failed = app.svcd("status", "Picky").stdout
    assert "5 failures in a row; last: init failed: RuntimeError: no weights:\n              not one\n" in failed
    assert "`svcd restart Picky/0` tries it again" in failed
    assert app.svcd("status").stdout.startswith(f"{app.name} is ready at {app.url}; svcd ")
    assert "Picky (failed, optional), Words (ready)" in app.svcd("status", "Entry").stdout
    assert app.svcd("status", "Nobody", code=4).stderr.startswith("svcd: no service Nobody; this app has ")


def test_a_reason_of_many_lines_keeps_its_row(app: RunningApp) -> None:
    (row,) = [line for line in app.svcd("ps").stdout.splitlines() if line.startswith("Picky/0")]
    assert row.endswith("last: init failed: RuntimeError: no weights:")


def test_restart_renews_one_after_the_other(app: RunningApp) -> None:
    settled(app)
    before = {row["replica"]: row["pid"] for row in app.rows() if row["service"] == "Words"}
    done = app.svcd("restart", "words")
    assert done.stdout == "restarted Words/0, Words/1\n"
    after = {row["replica"]: row["pid"] for row in app.rows() if row["service"] == "Words"}
    assert before.keys() == after.keys()
    assert not set(before.values()) & set(after.values())
    steps = [(event["replica"], event["to"]) for event in events(app, "Words", "-n", "9")]
    one = ["draining", "pending", "starting", "ready"]
    assert steps == [(None, ""), *((0, each) for each in one), *((1, each) for each in one)]
    answer = json.loads(app.svcd("restart", "Words/1", "--json").stdout)
    assert answer == [{"replica": "Words/1", "state": "ready", "reason": ""}]
    (row,) = [row for row in app.rows() if row["service"] == "Words" and row["replica"] == 0]
    assert row["pid"] == after[0]
    assert app.svcd("restart", "Words/7", code=4).stderr.endswith("no replica Words/7; there is Words/0, Words/1\n")
    app.svcd("restart", "Nobody", code=4)
    app.svcd("restart", "Words/x", code=2)


def test_restart_gives_a_failed_replica_its_attempts_again(app: RunningApp) -> None:
    refused = app.svcd("restart", "Picky", "--timeout", "0", code=5)
    assert "`svcd status Picky` shows how it goes on" in refused.stderr
    refused = app.svcd("restart", "Picky", code=1)
    assert "Picky/0 did not come back, it is failed: 5 failures in a row" in refused.stderr
    assert app.post("ping") == (200, b"pong")
    (app.folder / "go").touch()
    assert app.svcd("restart", "Picky").stdout == "restarted Picky/0\n"
    assert app.row("Picky")["state"] == "ready"
    (app.folder / "go").unlink()
    app.svcd("restart", "Picky/0", code=1)  # as it was, for the other tests


def test_events_outlive_the_daemon(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = write_app(
        tmp_path_factory.mktemp("app"), SERVICE.replace("Picky, optional", "Words, optional"), entry="Entry"
    )
    with RunningApp(folder) as app:
        assert "nothing has happened yet" in app.svcd("events", code=3).stderr
        app.up()
        assert app.daemon is not None
        app.daemon.kill()
        app.daemon.wait()
        wait_until(lambda: not app.processes(), "the app to end")
        assert "it ended without a word some time after" in app.svcd("status", code=3).stderr
        app.up()
        app.svcd("down")
        ends = [event["to"] for event in events(app, "daemon")]
        assert ends == ["started", "ready", "lost", "started", "ready", "stopping", "stopped"]
        assert "; it was stopped at " in app.svcd("restart", "Words", code=3).stderr
