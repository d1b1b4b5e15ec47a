"""Secrets come in by every way there is, services crash around them, and then they are looked for where svcd writes."""

from __future__ import annotations

import json
import os
import resource
import signal
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from conftest import MakeApp
    from running import RunningApp

MARK = "hunter2"
"""Every secret holds it."""
SERVICE = f"""
    import os, svcd

    @svcd.service(envs={{"DECORATOR_TOKEN": "{MARK}-decorator"}})
    class Holder:
        @svcd.api
        async def names(self) -> list[str]:
            return sorted(name for name, value in os.environ.items() if "{MARK}" in value)

        @svcd.api
        async def fail(self) -> None:
            raise RuntimeError("as it must")

    @svcd.service
    class Crasher:
        def __init__(self) -> None:
            raise RuntimeError("wrong: " + " ".join(os.environ[name] for name in ("LITERAL_KEY", "DATABASE", "MARKED")))

    @svcd.service
    class Entry:
        holder = svcd.depends(Holder)
        crasher = svcd.depends(Crasher, optional=True)

        @svcd.api
        async def names(self) -> list[str]:
            return await self.holder.names()
"""
ENVS = f"""
LITERAL_KEY = "{MARK}-literal"
DATABASE = "postgres://svcd:{MARK}-url@host/db"
MARKED = {{ value = "{MARK}-marked", secret = true }}
FROM_HOST = {{ from_host = true }}
FILE = {{ file = "secret" }}
CREDENTIAL = {{ credential = "cred" }}
REFERS = "x ${{FILE}} y"
"""
TOML = f"""
[services.Holder]
env_file = "holder.env"
[services.Holder.envs]
{ENVS}
[services.Crasher.envs]
{ENVS.replace("FROM_HOST = { from_host = true }", "")}
[profiles.prod.services.Holder.envs]
PROFILE_PASSWORD = "{MARK}-profile"
"""
OPTIONS = ("--profile", "prod", "--set", f"services.Holder.envs.FLAG_KEY={MARK}-flag")
NAMES = {
    *("CREDENTIAL", "DATABASE", "DECORATOR_TOKEN", "DOTENV", "FILE", "FLAG_KEY", "FROM_HOST", "HTTPS_PROXY"),
    *("LITERAL_KEY", "MARKED", "PROFILE_PASSWORD", "REFERS", "VARIABLE_KEY"),
}
"""The variables with a secret in them, one for each way in which one can come."""


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> Iterator[RunningApp]:
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "cred").write_text(f"{MARK}-credential\n")
    env = {
        "CREDENTIALS_DIRECTORY": str(tmp_path / "credentials"),
        "FROM_HOST": f"{MARK}-host",
        "HTTPS_PROXY": f"http://svcd:{MARK}-proxy@proxy",
        "SVCD__SERVICES__HOLDER__ENVS__VARIABLE_KEY": f"{MARK}-variable",
    }
    app = make_app(SERVICE, TOML, entry="Entry", env=env, options=OPTIONS)
    (app.folder / "secret").write_text(f"{MARK}-file\n")
    (app.folder / "holder.env").write_text(f"DOTENV={MARK}-dotenv\n")
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))  # a core is written where the machine writes any
    yield app
    resource.setrlimit(resource.RLIMIT_CORE, limits)


def written(app: RunningApp) -> dict[str, str]:
    """All that svcd has written: its standard error, its logs, its runtime directory."""
    files = [path for folder in (app.runtime, app.logs) for path in folder.rglob("*") if path.is_file()]
    texts = {str(path): path.read_bytes().decode(errors="replace") for path in files}
    return {**texts, "standard error": app.stderr}


def told(app: RunningApp) -> dict[str, str]:
    """All that svcd tells whoever asks."""
    commands: list[tuple[str, ...]] = [
        *(("ps",), ("ps", "--json"), ("logs",), ("logs", "daemon"), ("logs", "Holder"), ("logs", "Crasher")),
        *(("status",), ("status", "Crasher"), ("status", "--json"), ("events",), ("events", "--json")),
        *(("restart", "Holder", "--json"), ("restart", "Crasher"), ("scale", "Holder=1")),
        *(("config",), ("config", "--json"), ("config", "--explain"), ("config", "--explain", "--json")),
        *(("env", "Holder"), ("env", "Holder", "--json"), ("check",), ("check", "--json")),
        *(("call", "Holder.fail"), ("call", "Holder.nothing"), ("down", "--help")),
    ]
    number = count()
    texts = {}
    for command in commands:
        done = app.svcd(*command, code=None)
        texts[f"{next(number)} {' '.join(command)}"] = done.stdout + done.stderr
    return texts


def crash(app: RunningApp) -> None:
    """Have a service fail for good, and kill another with signals that leave cores."""
    wait_until(lambda: app.row("Crasher")["state"] == "failed", "Crasher to be given up")
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL):
        pid = wait_until(lambda: app.row("Holder")["state"] == "ready" and app.row("Holder")["pid"], "Holder")
        os.kill(pid, number)
        wait_until(lambda pid=pid: app.row("Holder")["pid"] != pid, "its end to be noticed")
    wait_until(lambda: app.row("Holder")["state"] == "ready", "Holder to be back")


def test_no_secret_is_written_or_told(app: RunningApp) -> None:
    app.up()
    assert set(json.loads(app.svcd("call", "Entry.names").stdout)) == NAMES, "not every way in was tried"
    crash(app)
    answers = told(app)
    assert all(answers.values()), "nothing was found to look into"
    texts = {**written(app), **answers, "an answer": str(app.post("names", {"x": 1}))}
    app.svcd("down")
    texts |= {f"afterwards: {name}": text for name, text in written(app).items()}
    assert [name for name, text in texts.items() if MARK in text] == []
    assert [path for folder in (app.base, app.folder) for path in folder.rglob("core*")] == []


def test_no_secret_is_in_the_command_line_of_a_process_that_svcd_starts(app: RunningApp) -> None:
    app.up()
    assert app.daemon is not None
    processes = app.processes() - {app.daemon.pid}  # its own has what its user wrote there
    commands = [Path(f"/proc/{pid}/cmdline").read_text() for pid in processes]
    assert [command for command in commands if MARK in command] == []


def test_no_secret_is_in_errors(app: RunningApp) -> None:
    """Each way is spoilt in turn: what is said of it names the place and not the value."""
    wrong = [
        ("--set", f"services.Holder.envs=['{MARK}']", "expected a table of variables"),
        ("--set", f"services.Holder.envs.A={{ valu = '{MARK}' }}", "did you mean value?"),
        ("--set", f"services.Holder.envs.A={MARK}${{", "expected ${NAME}"),
        ("--set", f"services.Holder.envs.A {MARK}", "expected KEY=VALUE"),
    ]
    for flag, value, message in wrong:
        done = app.svcd("check", flag, value, code=1)
        assert message in done.stderr
        assert MARK not in done.stderr, value
    (app.folder / "holder.env").write_text(f"DOTENV='{MARK}\n")
    assert "holder.env:1: expected NAME=value" in refusal(app)
    (app.folder / "holder.env").write_text(f"{MARK}-without a name\n")
    assert "holder.env:1: expected NAME=value" in refusal(app)
    (app.folder / "svcd.toml").write_text(f'[services.Holder.envs]\nA = "{MARK}"\nB = {MARK}\n')
    assert "svcd.toml:3:5: not TOML" in refusal(app)


def refusal(app: RunningApp) -> str:
    done: subprocess.CompletedProcess[str] = app.svcd("check", code=1)
    assert MARK not in done.stderr
    return done.stderr
