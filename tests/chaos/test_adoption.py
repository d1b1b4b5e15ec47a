"""A daemon dies, or leaves, and another takes over: what the app does goes on, under the same pids."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from adoption_app import SERVICE, TOML, kill_daemon
from steady_stream import SteadyStream

from running import PATIENCE, SVCD, wait_until
from svcd.host.processes import read_stat
from svcd.values.orders import LINK_VERSION
from svcd_ipc.frames import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import MakeApp
    from running import RunningApp

PROGRAMS = """
    import urllib.request

    import svcd

    @svcd.service
    class Entry:
        web = svcd.depends("Web")

        @svcd.api
        def look(self) -> int:
            with urllib.request.urlopen(self.web) as answer:
                return answer.status
"""
COMMANDS = """
    orphan_grace = "30s"
    [services.Once]
    type = "oneshot"
    command = ["{python}", "-c", "open('ran', 'a').write('once ')"]
    [services.Web]
    command = ["{python}", "-m", "http.server", "--bind", "127.0.0.1", "{port}"]
    readiness = { http = "/", period = "100ms" }
    after = ["Once"]
"""


def pids(app: RunningApp) -> dict[str, int]:
    return {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}


@contextmanager
def no_request_lost(app: RunningApp) -> Iterator[SteadyStream]:
    """A steady load, of which every request is answered."""
    with SteadyStream(app.url, "work", clients=4) as stream:
        yield stream
        stream.wait_for(20, after=time.monotonic())
    assert {answer.status for answer in stream.answers} == {200}, [a for a in stream.answers if a.status != 200][:5]


def test_a_daemon_that_is_killed_is_followed_by_another_and_nobody_notices(
    make_app: MakeApp, measured: Callable[[str, float], None]
) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up().all_up()
    app.svcd("scale", "Other=2")
    wait_until(lambda: len(pids(app)) == 6 and None not in pids(app).values(), "the second Other")
    victim = app.row("Twice")["pid"]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: app.row("Twice")["restarts"] == 1 and app.row("Twice")["state"] == "ready", "it to be back")
    before = pids(app)
    with no_request_lost(app) as stream:
        kill_daemon(app)
        stream.wait_for(50, after=time.monotonic())
        for command in ("ps", "status"):
            told = re.search(
                "the daemon is gone; the services go on for ([0-9]+) s more", app.svcd(command, code=3).stderr
            )
            assert told is not None
            assert 0 < int(told[1]) <= 30
        began = time.monotonic()
        app.up(wait=False)
        wait_until(lambda: (app.runtime / "control.sock").exists() and answers(app), "commands to work")
        measured("a daemon killed: commands work again after `svcd up`", time.monotonic() - began)
        wait_until(lambda: "ready after" in app.stderr, "the app to be ready")
        assert pids(app) == before
        stream.wait_for(50, after=time.monotonic())
    row = app.row("Twice")
    assert (row["restarts"], row["last_exit"], row["state"]) == (1, "killed by SIGKILL", "ready")
    assert "adopted, pid" in app.log("daemon")
    # It is supervised as before: what dies is replaced, and what is ordered is done.
    os.kill(app.row("Other")["pid"], signal.SIGKILL)
    wait_until(lambda: app.row("Other")["restarts"] == 1 and app.row("Other")["state"] == "ready", "it to be replaced")
    began = time.monotonic()
    app.svcd("down")
    measured("after a take-over: `svcd down` is through after", time.monotonic() - began)
    app.assert_gone()
    assert not app.runtime.exists()


def answers(app: RunningApp) -> bool:
    try:
        return bool(app.rows())
    except OSError:
        return False


def test_a_daemon_that_leaves_is_followed_by_another_and_what_changed_meanwhile_is_seen_to(make_app: MakeApp) -> None:
    """One replica dies while nobody looks, and one service is configured otherwise."""
    app = make_app(SERVICE, TOML, entry="Entry").up().all_up()
    before = pids(app)
    with no_request_lost(app):
        assert "go on for 30 s" in app.svcd("down", "--keep").stdout
        assert app.daemon is not None
        assert app.daemon.wait(PATIENCE) == 75
        assert "the app goes on for 30 s" in app.stderr
        os.kill(before["Other/0"], signal.SIGKILL)
        (app.folder / "svcd.toml").write_text((app.folder / "svcd.toml").read_text() + 'envs = { MODE = "new" }\n')
        app.up()
        wait_until(lambda: [app.row("Twice", index)["restarts"] for index in (0, 1)] == [1, 1], "both to be replaced")
        wait_until(lambda: {row["state"] for row in app.rows()} == {"ready"}, "all to be ready")
    assert "did not stop in order" not in app.log("daemon")
    after = pids(app)
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"Twice/0", "Twice/1", "Other/0"}
    assert app.row("Other")["last_exit"] == "killed by SIGKILL"
    assert app.post("who")[1] == after["Other/0"]


HELD = (
    """
    from pathlib import Path

    if (Path(__file__).parent / "hold").exists():
        (Path(__file__).parent / "hold").read_bytes()  # a FIFO: it waits until who opened it to write closes it
"""
    + SERVICE
)


def test_commands_work_while_the_graph_is_being_read(make_app: MakeApp) -> None:
    app = make_app(HELD, TOML, entry="Entry").up().all_up()
    os.kill(app.row("Other")["pid"], signal.SIGKILL)
    wait_until(lambda: app.row("Other")["restarts"] == 1 and app.row("Other")["state"] == "ready", "it to be back")
    before = {(row["service"], row["replica"]): row for row in app.rows()}
    (story,) = json.loads(app.svcd("status", "--json", "Other").stdout)["services"]
    kill_daemon(app)
    os.mkfifo(app.folder / "hold")
    app.up(wait=False)
    wait_until(lambda: answers(app), "commands to work")

    now = {(row["service"], row["replica"]): row for row in json.loads(app.svcd("ps", "--json").stdout)}
    assert all(row["reason"] == "it is being taken over" for row in now.values())
    moving = {"cpu_percent", "rss_bytes", "in_flight", "queued", "reason"}
    assert {who: row.keys() for who, row in now.items()} == {who: row.keys() for who, row in before.items()}
    for who, row in before.items():
        assert {key: now[who][key] for key in row.keys() - moving} == {key: row[key] for key in row.keys() - moving}
    (told,) = json.loads(app.svcd("status", "--json", "Other").stdout)["services"]
    assert told.keys() == story.keys()
    assert told["replicas"][0]["endings"] == story["replicas"][0]["endings"]
    assert "Other is ready: 1 of 1 replicas ready" in app.svcd("status").stdout
    assert app.svcd("status", "Nobody", code=4).stderr.startswith("svcd: no service Nobody; this app has Entry, Other")
    assert app.svcd("logs", "-n", "1", "daemon").returncode == 0
    # What only the app itself can do waits for it.
    with subprocess.Popen([*SVCD, "scale", *app.options, "Other=2"], env=app.env, cwd=app.base) as scale:
        assert app.rows() is not None
        assert scale.poll() is None
        held = wait_until(lambda: write_end(app.folder / "hold"), "the graph to be read")
        (app.folder / "hold").unlink()  # first: a replica that is started next would wait there as well
        os.close(held)
        assert scale.wait(PATIENCE) == 0
    wait_until(lambda: len(pids(app)) == len(before) + 1, "the second Other")
    assert all(pids(app)[f"{service}/{index}"] == row["pid"] for (service, index), row in before.items())
    after = json.loads(app.svcd("status", "--json", "Other").stdout)["services"][0]
    assert after["replicas"][0]["endings"] == story["replicas"][0]["endings"], "the story goes on"


SLOW = """
    from pathlib import Path

    import svcd

    @svcd.service
    class Slow:
        def __init__(self) -> None:
            (Path(__file__).parent / "go").read_bytes()  # a FIFO: it waits for who writes to it

        @svcd.api
        async def work(self, x: int) -> int:
            return x

    @svcd.service
    class Entry:
        slow = svcd.depends(Slow)

        @svcd.api
        async def work(self, x: int) -> int:
            return await self.slow.work(x=x)
"""


def write_end(fifo: Path) -> int | None:
    """Open a FIFO to write; None while nobody reads from it."""
    try:
        return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return None


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_was_starting_goes_on_starting(make_app: MakeApp, when: str) -> None:
    """Slow becomes ready before there is a daemon that it could tell, or after."""
    app = make_app(SLOW, TOML.partition("[services")[0], entry="Entry")
    os.mkfifo(app.folder / "go")
    app.up(wait=False)
    wait_until(lambda: answers(app) and None not in pids(app).values(), "all to be started")
    wait_until(lambda: app.row("Entry")["reason"] == "waiting for Slow", "Entry to wait")
    before = pids(app)
    go = wait_until(lambda: write_end(app.folder / "go"), "Slow to have begun")
    kill_daemon(app)
    if when == "before":
        os.close(go)
    app.up(wait=False)
    wait_until(lambda: answers(app), "commands to work")
    if when == "after":
        os.close(go)
    wait_until(lambda: "ready after" in app.stderr, "the app to be ready")
    assert pids(app) == before
    assert app.post("work", {"x": 2}) == (200, 2)


def test_programs_are_taken_over_and_oneshots_stay_done(make_app: MakeApp) -> None:
    app = make_app(PROGRAMS, COMMANDS, entry="Entry").up()
    before = pids(app)
    assert app.post("look") == (200, 200)
    kill_daemon(app)
    assert app.post("look") == (200, 200)
    app.up()
    assert pids(app) == before
    assert app.row("Once")["state"] == "done"
    assert app.post("look") == (200, 200)
    os.kill(before["Web/0"], signal.SIGKILL)
    wait_until(lambda: app.row("Web")["restarts"] == 1 and app.row("Web")["state"] == "ready", "it to be replaced")
    assert app.post("look") == (200, 200)
    assert (app.folder / "ran").read_text() == "once "


def test_an_up_that_fails_leaves_all_as_it_is(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up().all_up()
    before = pids(app)
    with no_request_lost(app):
        kill_daemon(app)
        good = (app.folder / "service.py").read_text()
        (app.folder / "service.py").write_text(good.replace("svcd.depends(Other)", "svcd.depends(Nobody)"))
        app.up(wait=False)
        assert app.daemon is not None
        assert app.daemon.wait(PATIENCE) == 1
        assert "Nobody" in app.stderr
        (app.folder / "service.py").write_text(good)
        app.up()
        assert pids(app) == before


def test_without_a_grace_a_daemon_does_not_leave(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Entry").up()
    assert "orphan_grace is not set; nothing was stopped" in app.svcd("down", "--keep", code=1).stderr
    assert app.post("work", {"x": 2}) == (200, 4)


@pytest.mark.parametrize("version", [LINK_VERSION - 1, LINK_VERSION + 1], ids=["older", "newer"])
def test_a_keeper_of_another_version_is_named_and_left_alone(make_app: MakeApp, version: int) -> None:
    app = make_app(SERVICE, TOML, entry="Entry")
    app.runtime.mkdir(mode=0o700)
    told: list[Any] = ["Greeting", version, "9.9", os.getppid(), "more that a later version says"]
    with socket.socket(socket.AF_UNIX) as keeper:
        keeper.bind(str(app.runtime / "keeper.sock"))
        keeper.listen()
        with subprocess.Popen(
            [*SVCD, "up", *app.options], env=app.env, cwd=app.base, stderr=subprocess.PIPE, text=True
        ) as daemon:
            keeper.accept()[0].close()  # it looks whether anybody is there
            with keeper.accept()[0] as link:
                link.sendall(pack(msgpack.packb(told)))
                assert link.recv(1) == b"", "it said nothing"
            said = daemon.communicate(timeout=PATIENCE)[1]
        assert daemon.returncode == 1
        assert "keeper of svcd 9.9" in said
        assert "nothing was touched" in said
        assert (app.runtime / "keeper.sock").exists()
        assert read_stat(os.getppid()) is not None
