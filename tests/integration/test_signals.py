"""Signals to `svcd up`, and a second `svcd up`: everything stops in order, or at once, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import PATIENCE, SVCD, wait_until, write_app
from svcd.host.processes import read_stat
from svcd.values.places import places

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

PIPELINE = """
    import svcd

    @svcd.service
    class Words:
        @svcd.on_shutdown
        def say(self) -> None:
            print("Words is told", flush=True)

        @svcd.api
        async def split(self, text: str) -> list[str]:
            return text.split()

    @svcd.service
    class Counter:
        words = svcd.depends(Words)

        @svcd.api
        async def count(self, text: str) -> int:
            return len(await self.words.split(text=text))
"""
IMPORTS_FOR_EVER = """
    import time
    from pathlib import Path

    (Path(__file__).parent / "reading").touch()
    time.sleep(1000)
"""
STOPS_NEVER = """
    import time
    from pathlib import Path

    import svcd

    @svcd.service
    class Entry:
        @svcd.api
        async def ping(self) -> int:
            return 1

        @svcd.on_shutdown
        def think(self) -> None:
            (Path(__file__).parent / "stopping").touch()
            time.sleep(1000)
"""
PATIENT = "[services.Entry]\nstop_timeout = 100\n"
ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


def end(app: RunningApp, number: signal.Signals) -> int:
    """Send a signal to `svcd up`; return its exit code."""
    assert app.daemon is not None
    app.daemon.send_signal(number)
    return app.daemon.wait(PATIENCE)


def assert_clean(app: RunningApp) -> None:
    """Nothing is left, neither processes nor files."""
    app.assert_gone()
    assert not app.runtime.exists()


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_stops_a_ready_app_in_order(make_app: MakeApp, number: signal.Signals) -> None:
    app = make_app(PIPELINE, entry="Counter").up()
    app.processes()
    assert end(app, number) == 0
    assert_clean(app)
    assert app.stderr.splitlines()[-1] == f"stopping: {number.name}"
    assert "Words is told" in app.log("Words.0")
    ends = [line.split()[1] for line in app.log("daemon").splitlines() if " -> stopped" in line]
    assert ends == ["ingress/0:", "Counter/0:", "Words/0:"]


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_while_user_code_is_imported(make_app: MakeApp, number: signal.Signals) -> None:
    app = make_app(IMPORTS_FOR_EVER, entry="Entry").up(wait=False)
    wait_until((app.folder / "reading").exists, "the import")
    app.processes()
    assert end(app, number) == 0
    assert_clean(app)


@pytest.mark.parametrize("number", ASKING)
def test_a_signal_before_the_daemon_listens(make_app: MakeApp, number: signal.Signals) -> None:
    app = make_app(PIPELINE, entry="Counter").up(wait=False)
    wait_until((app.runtime / "daemon.pid").exists, "the daemon to hold the app")
    assert end(app, number) == 0
    assert_clean(app)


def test_a_second_interrupt_kills_what_hangs_while_stopping(make_app: MakeApp) -> None:
    app = make_app(STOPS_NEVER, PATIENT, entry="Entry").up()
    assert app.daemon is not None
    app.daemon.send_signal(signal.SIGINT)
    wait_until((app.folder / "stopping").exists, "the service to hang")
    app.processes()
    assert end(app, signal.SIGINT) == 1
    assert_clean(app)
    assert app.stderr.splitlines()[-2:] == ["stopping: SIGINT", "interrupted again: killing everything now"]


def test_under_nohup_a_hang_up_is_no_reason_to_stop(make_app: MakeApp) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        app = make_app(PIPELINE, entry="Counter").up()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert app.daemon is not None
    app.daemon.send_signal(signal.SIGHUP)
    assert app.post("count", {"text": "a b"}) == (200, 2)
    assert end(app, signal.SIGTERM) == 0
    assert "stopping: SIGTERM" in app.stderr


def test_an_app_outlives_the_terminal_that_shows_its_progress(make_app: MakeApp) -> None:
    app = make_app(PIPELINE, entry="Counter")
    shown = subprocess.Popen(
        [*SVCD, "up", *app.options], env=app.env, cwd=app.base, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert shown.stderr is not None
    shown.stderr.close()  # whoever read along is gone: `svcd up 2>&1 | head -1`
    app.daemon = shown
    wait_until(lambda: "Z ready after" in app.log("daemon"), "the app to be ready")
    assert {row["state"] for row in app.rows()} == {"ready"}
    assert end(app, signal.SIGINT) == 0
    assert_clean(app)


def test_a_second_up_says_so_and_leaves_the_first_alone(make_app: MakeApp) -> None:
    app = make_app(PIPELINE, entry="Counter").up()
    assert app.daemon is not None
    before = app.rows()
    for options in ((), ("-d",), ("-d", "--wait")):
        second = app.svcd("up", *options, code=1)
        expected = f"svcd: this app is running already (pid {app.daemon.pid}, {app.runtime}); `svcd down` stops it\n"
        assert second.stderr == expected
    assert [(row["pid"], row["restarts"]) for row in app.rows()] == [(row["pid"], row["restarts"]) for row in before]
    assert app.post("count", {"text": "a b"}) == (200, 2)


def test_an_app_of_the_same_name_in_another_folder_is_left_alone(make_app: MakeApp) -> None:
    app = make_app(PIPELINE, entry="Counter")
    ours, theirs = (write_app(app.folder / place / app.name, PIPELINE, entry="Counter") for place in ("a", "b"))
    del app.env["SVCD_RUNTIME_DIR"]
    app.env["XDG_RUNTIME_DIR"] = str(app.base)
    app.runtime = Path(places(app.name, app.env, os.getuid()).runtime)
    app.options = ("-f", str(theirs / "svcd.toml"))
    app.up()
    assert app.daemon is not None
    app.options = ("-f", str(ours / "svcd.toml"))
    told = f"an app of the same name is running in {theirs} (pid {app.daemon.pid})"
    told += "; give one of them a `name` under [app]\n"
    assert app.svcd("up", code=1).stderr == f"svcd: {told}"
    for command in ("down", "ps"):
        assert app.svcd(command, code=3).stderr == f"svcd: this app is not running; {told}"
    # Who says the name means what goes by it, and a folder is the same by another way.
    assert app.svcd("ps", "--set", f"app.name={app.name}").stdout
    (app.folder / "c").symlink_to(app.folder / "b")
    app.options = ("-f", str(app.folder / "c" / app.name / "svcd.toml"))
    assert app.svcd("down").stdout == "stopped\n"


def test_down_stops_an_app_that_is_still_being_imported(make_app: MakeApp) -> None:
    app = make_app(IMPORTS_FOR_EVER, entry="Entry").up(wait=False)
    wait_until((app.folder / "reading").exists, "the import")
    app.processes()
    assert app.svcd("down").stdout == "stopped\n"
    assert app.daemon is not None
    assert app.daemon.wait(PATIENCE) == 0
    assert_clean(app)


def test_a_signal_to_the_whole_foreground_group_is_the_daemons_alone(make_app: MakeApp) -> None:
    """Ctrl-C in a terminal goes to every process of its group: nothing of the app but the daemon is in it."""
    app = make_app(PIPELINE, entry="Counter").up()
    assert app.daemon is not None
    daemon = read_stat(app.daemon.pid)
    others = [stat for pid in app.processes() - {app.daemon.pid} if (stat := read_stat(pid))]
    assert daemon is not None
    assert daemon.group not in {stat.group for stat in others}
