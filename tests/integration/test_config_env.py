"""`svcd env` says exactly what a replica gets: the kernel's own copy of a live replica's environment is the judge."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import SVCD, wait_until

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

SERVICE = """
    import os, svcd

    @svcd.service(envs={"FROM_DECORATOR": "d", "OVERRULED": "d"})
    class Helper:
        @svcd.api
        async def environment(self) -> dict[str, str]:
            return dict(os.environ)

    @svcd.service
    class Entry:
        helper = svcd.depends(Helper)

        @svcd.api
        async def environment(self) -> dict[str, str]:
            return dict(os.environ)
"""
TOML = """
[services.Helper]
scaling.min_replicas = 2
env_file = "helper.env"
resources.cpu = "500m"

[services.Helper.envs]
OVERRULED = "toml"
FROM_HOST = { from_host = true }
KEY = { file = "key" }
CREDENTIAL = { credential = "cred" }
URL = "http://${KEY}@host"
TZ = { unset = true }
LINES = "a\\nb 'c' \\"d\\""
UMLAUT = "größe"
"""
HOST = {
    "FROM_HOST": "h",
    "TZ": "UTC",
    "LC_TIME": "C",
    "HTTPS_PROXY": "http://u:hunter2@p",
    "STRAY": "x",
    "PYTHONPATH": "/x",
}


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path) -> RunningApp:
    return written(make_app, tmp_path / "credentials")


@pytest.fixture(scope="module")
def running(share_app: MakeApp, tmp_path_factory: pytest.TempPathFactory) -> RunningApp:
    """For tests that only look."""
    return written(share_app, tmp_path_factory.mktemp("secret") / "credentials").up().all_up()


def written(make_app: MakeApp, credentials: Path) -> RunningApp:
    credentials.mkdir()
    (credentials / "cred").write_text("hunter2\n")
    app = make_app(SERVICE, TOML, entry="Entry", env={**HOST, "CREDENTIALS_DIRECTORY": str(credentials)})
    (app.folder / "key").write_text("hunter2\n")
    (app.folder / "helper.env").write_text("DOTENV_A=1\nDOTENV_B=${DOTENV_A}2\n")
    return app


def environment_of(pid: int) -> dict[str, str]:
    """All that the kernel has kept of what the process was started with."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert len(pairs) == len(dict(pair.split(b"=", 1) for pair in pairs)), "a variable is there twice"
    return {os.fsdecode(name): os.fsdecode(value) for name, value in (pair.split(b"=", 1) for pair in pairs)}


def env(app: RunningApp, target: str, *options: str) -> dict[str, str]:
    shown: dict[str, str] = json.loads(app.svcd("env", target, "--json", *options).stdout)
    return shown


def test_it_is_what_the_kernel_says(running: RunningApp) -> None:
    rows = running.rows()
    assert {row["service"] for row in rows} == {"ingress", "Entry", "Helper"}
    for row in rows:
        target = f"{row['service']}/{row['replica']}"
        assert env(running, target, "--show-secrets") == environment_of(row["pid"]), target
    helper = env(running, "helper/1", "--show-secrets")
    expected = {
        "FROM_DECORATOR": "d",
        "OVERRULED": "toml",
        "FROM_HOST": "h",
        "KEY": "hunter2",
        "CREDENTIAL": "hunter2",
        "URL": "http://hunter2@host",
        "LINES": "a\nb 'c' \"d\"",
        "UMLAUT": "größe",
        "DOTENV_A": "1",
        "DOTENV_B": "12",
        "LC_TIME": "C",
        "SVCD_APP": running.name,
        "SVCD_SERVICE": "Helper",
        "SVCD_REPLICA": "Helper/1#1",
        "HTTPS_PROXY": "http://u:hunter2@p",
        "CUDA_VISIBLE_DEVICES": "",
    }
    assert {name: helper.get(name) for name in expected} == expected
    assert not {"TZ", "STRAY", "PYTHONPATH", "CREDENTIALS_DIRECTORY", "SVCD_RUNTIME_DIR", *running.mark} & helper.keys()
    entry = env(running, "Entry", "--show-secrets")
    assert not {"FROM_DECORATOR", "KEY", "DOTENV_A", "STRAY", *running.mark} & entry.keys()
    assert entry["TZ"] == "UTC"


def test_a_restarted_replica_has_the_environment_that_its_siblings_have(app: RunningApp) -> None:
    """Sources are read once, when the app starts; a file that changes or goes is no matter to it."""
    app.up().all_up()
    before = app.row("Helper")["pid"]
    (app.folder / "key").write_text("another\n")
    (app.folder / "helper.env").unlink()
    os.kill(before, signal.SIGKILL)
    row = wait_until(
        lambda: (row := app.row("Helper"))["state"] == "ready" and row["pid"] != before and row, "the next process"
    )
    found = environment_of(row["pid"])
    assert (found["KEY"], found["DOTENV_B"], found["SVCD_REPLICA"]) == ("hunter2", "12", "Helper/0#2")
    assert env(app, "Helper", "--show-secrets") == found


def test_it_can_be_read_by_a_shell_and_hides_secrets(running: RunningApp) -> None:
    told = running.svcd("env", "Helper").stdout
    assert "hunter2" not in told
    assert "# KEY=(not shown)\n" in told
    assert "# HTTPS_PROXY=(not shown)\n" in told
    assert "FROM_DECORATOR=d\n" in told
    hidden = {name for name, value in env(running, "Helper").items() if value is None}
    assert hidden == {"KEY", "CREDENTIAL", "URL", "FROM_HOST", "DOTENV_A", "DOTENV_B", "HTTPS_PROXY"}
    shown = running.svcd("env", "Helper", "--show-secrets").stdout
    script = "set -a\n" + shown + 'printf "%s" "$LINES|$KEY|$UMLAUT|$CUDA_VISIBLE_DEVICES"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "a\nb 'c' \"d\"|hunter2|größe|"


def test_without_a_running_app_it_is_what_the_first_replica_would_get(app: RunningApp) -> None:
    planned = app.svcd("env", "Helper", "--json", "--show-secrets")
    assert planned.stderr == "the app is not running; this is what Helper/0 would get from this shell\n"
    app.up().all_up()
    assert json.loads(planned.stdout) == environment_of(app.row("Helper")["pid"])


@pytest.mark.parametrize(
    ("target", "code", "told"),
    [
        ("Hepler", 4, "no service Hepler; this app has Entry, Helper"),
        ("Helper/", 2, "'Helper/' is not SERVICE or SERVICE/N"),
    ],
)
def test_what_is_not_there(app: RunningApp, target: str, code: int, told: str) -> None:
    assert told in app.svcd("env", target, code=code).stderr


def test_replicas_that_are_not_there(running: RunningApp) -> None:
    there = ", ".join(f"Helper/{row['replica']}" for row in running.rows() if row["service"] == "Helper")
    assert running.svcd("env", "Helper/7", code=4).stderr == f"svcd: no replica Helper/7; there is {there}\n"
    assert "no service Hepler; this app has Entry, Helper, ingress" in running.svcd("env", "Hepler", code=4).stderr


def test_gpus_are_told_once_they_are_placed(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text("import svcd\n@svcd.service(resources={'gpu': 2})\nclass Model:\n    pass\n")
    (tmp_path / "svcd.toml").write_text('[app]\nservice = "service:Model"\n')
    environ = os.environ | {"SVCD_RUNTIME_DIR": str(tmp_path / "run")}
    done = subprocess.run(
        [*SVCD, "env", "Model"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert "# CUDA_VISIBLE_DEVICES=(2 GPUs, chosen when it starts)\n" in done.stdout
