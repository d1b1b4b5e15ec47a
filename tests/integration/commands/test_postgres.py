"""PostgreSQL as Debian ships it: made by a oneshot, run as a command service, asked by a class, killed, back again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

SERVICE = """
    import subprocess

    import svcd


    @svcd.service
    class Notes:
        db = svcd.depends("Db")

        def __init__(self) -> None:
            self.ask(sql="create table if not exists notes (note text)")

        @svcd.api
        def ask(self, sql: str) -> str:
            done = subprocess.run(["{psql}", self.db, "-tAc", sql], capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(done.stderr)
            return done.stdout.strip()
"""
TOML = """
[services.InitDb]
type = "oneshot"
command = ["{bin}/initdb", "--pgdata=data", "--auth=trust", "--username=app", "--no-sync", "--no-instructions"]
{user}

[services.Db]
command = ["{bin}/postgres", "-D", "data", "-p", "{{port}}", "-c", "unix_socket_directories=", "-c", "fsync=off"]
url = "postgresql://app@127.0.0.1:{{port}}/postgres"
readiness = {{ exec = ["{bin}/pg_isready", "--host=127.0.0.1", "--port={{port}}"], period = "100ms" }}
after = ["InitDb"]
stop_signal = "SIGINT"    # PostgreSQL's "fast" shutdown; SIGTERM waits for clients to leave
stop_timeout = "30s"
{user}
"""


@pytest.fixture
def app() -> Iterator[RunningApp]:
    """The app, its data in a folder of the user that PostgreSQL runs as: it refuses to be root."""
    (server,) = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))[-1:]
    place = Path(tempfile.mkdtemp(prefix="svcd-pg-"))
    place.chmod(0o755)
    user = 'user = "nobody"' if os.geteuid() == 0 else ""
    folder = place / "app"
    toml = TOML.format(bin=server.parent, user=f'{user}\ncwd = "db"')
    write_app(folder, SERVICE.format(psql=server.parent / "psql"), toml, entry="Notes")
    (folder / "db").mkdir()
    if user:
        shutil.chown(folder / "db", "nobody")
    try:
        with RunningApp(folder) as app:
            app.base.chmod(0o755)
            yield app
    finally:
        shutil.rmtree(place)


def ask(app: RunningApp, sql: str) -> str:
    status, told = app.post("ask", {"sql": sql})
    assert status == 200, (told, app.log("Notes.0"))
    return bytes(told).decode()


def test_it_is_made_asked_killed_and_back_with_what_it_knew(app: RunningApp) -> None:
    app.up()
    assert app.row("InitDb")["state"] == "done"
    ask(app, "insert into notes values ('kept')")
    assert ask(app, "select note from notes") == "kept"
    wait_until(lambda: "database system is ready to accept connections" in app.log("Db.0"), "its word in the log")
    before = app.row("Db")
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: app.row("Db")["restarts"] == 1, "the server to be started again")
    wait_until(lambda: app.row("Db")["state"] == "ready", "it to have recovered")
    wait_until(lambda: app.post("ask", {"sql": "select 1"})[0] == 200, "its URL to be there again")
    assert ask(app, "select note from notes") == "kept"
    assert app.row("InitDb")["restarts"] == 0
    assert app.svcd("down").stdout == "stopped\n"
    assert "received fast shutdown request" in app.log("Db.0")
    assert "database system is shut down" in app.log("Db.0")
    assert "Db/0: draining -> stopped" in app.log("daemon")
