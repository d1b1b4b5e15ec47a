"""Services under users of their own: what they can't see of each other, and that they work together all the same."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from probe import SERVICE, call

from running import PATIENCE, SVCD, RunningApp, wait_until, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

STRANGER = """
    IMPORTED_BY = os.getuid()

    @svcd.service(version=f"declared by {IMPORTED_BY}")
    class Stranger:
        @svcd.api
        def attempt(self, deeds: list) -> list:
            return [attempt(what, path) for what, path in deeds]

        @svcd.api
        def look(self) -> dict:
            return {"ids": [os.getuid(), os.getgid()], "groups": os.getgroups(), "environ": dict(os.environ)}
"""
TOML = """
[services.Probe]
user = "games"
envs = { SECRET_KEY = { file = "key" } }
[services.Neighbour]
user = "nobody"
group = "mail"
[services.Stranger]
user = "4711"
"""


@pytest.fixture(scope="module")
def open_place() -> Iterator[Path]:
    """A folder that every user may enter, with an interpreter that every user may run."""
    place = Path(tempfile.mkdtemp(prefix="svcd-users-"))
    place.chmod(0o755)
    try:
        made = subprocess.run(
            ["/usr/bin/python3", "-m", "venv", "--without-pip", place / "venv"], capture_output=True, check=False
        )
        site = place / f"venv/lib/python{sysconfig.get_python_version()}/site-packages"
        if made.returncode or not site.is_dir():
            pytest.skip(f"/usr/bin/python3 is no Python {sysconfig.get_python_version()} that makes environments")
        (site / "svcd-tests.pth").write_text("\n".join(path for path in sys.path if Path(path).is_dir()))
        yield place
    finally:
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def app(open_place: Path) -> Iterator[RunningApp]:
    service = SERVICE.replace(
        "neighbour = svcd.depends(Neighbour)",
        "neighbour = svcd.depends(Neighbour)\n        stranger = svcd.depends('service:Stranger')",
    )
    folder = write_app(open_place / "app", service + STRANGER, TOML, entry="Probe")
    (folder / "key").write_text("hunter2")
    (folder / "key").chmod(0o600)
    with RunningApp(folder, options=("--set", f"app.python={open_place}/venv/bin/python")) as app:
        app.base.chmod(0o755)
        yield app.up()


def attempt(app: RunningApp, service: str, *deeds: tuple[str, object]) -> list[str]:
    """Have a replica try things; return how each went."""
    said: list[str] = call(app, "attempt", service=service, deeds=[[what, str(path)] for what, path in deeds])
    return said


def sockets(app: RunningApp) -> dict[str, Path]:
    """Data sockets by the user who owns them."""
    return {
        pwd.getpwuid(it.stat().st_uid).pw_name if it.stat().st_uid != 4711 else "4711": it
        for it in app.runtime.glob("s/*/s")
    }


def test_each_is_who_it_should_be(app: RunningApp) -> None:
    seen: dict[str, Any] = call(app, "look")
    games = pwd.getpwnam("games")
    assert seen["ids"] == [games.pw_uid, games.pw_uid, games.pw_gid, games.pw_gid]
    assert seen["groups"] == os.getgrouplist("games", games.pw_gid)
    assert int(seen["capabilities"], 16) == 0
    assert {"HOME": games.pw_dir, "USER": "games", "LOGNAME": "games"}.items() <= seen["environ"].items()
    assert seen["at_start"]["pdeathsig"] == 9
    stranger = call(app, "look", service="Stranger")
    assert stranger["ids"] == stranger["groups"] * 2 == [4711, 4711]
    assert "USER" not in stranger["environ"]


def test_declarations_are_read_as_the_entry_s_user(app: RunningApp) -> None:
    """Else what a module does when it is imported would be done as root."""
    assert app.row("Stranger")["version"] == f"declared by {pwd.getpwnam('games').pw_uid}"


def test_those_that_depend_on_each_other_work_together(app: RunningApp) -> None:
    assert call(app, "hello") == f"hello from {pwd.getpwnam('nobody').pw_uid}"


def test_none_reads_what_is_another_ones(app: RunningApp) -> None:
    probe = app.row("Probe")["pid"]
    assert call(app, "look")["environ"]["SECRET_KEY"] == "hunter2"  # noqa: S105 - it is no secret
    hidden = [
        ("read", f"/proc/{probe}/environ"),
        ("read", f"/proc/{probe}/mem"),
        ("list", f"/proc/{probe}/fd"),
        ("signal", probe),
        ("read", app.folder / "key"),
        ("read", app.logs / "Probe.0.log"),
        ("list", app.runtime),
        ("list", app.runtime / "s"),
        ("list", sockets(app)["games"].parent),
        ("write", sockets(app)["games"].parent),
        ("write", app.runtime / "s"),
        ("remove", sockets(app)["games"]),
        ("knock", app.runtime / "control.sock"),
    ]
    for service in ("Neighbour", "Stranger"):
        said = attempt(app, service, *hidden)
        assert [it for it in zip(hidden, said, strict=True) if not it[1].startswith("PermissionError")] == []
    assert attempt(app, "Probe", ("read", f"/proc/{probe}/environ")) == ["done"]


def test_none_calls_what_it_does_not_depend_on(app: RunningApp) -> None:
    doors = (("knock", sockets(app)["games"]), ("knock", app.runtime / "link.sock"))
    replica, link = attempt(app, "Stranger", *doors)
    assert "refused: the hello lacks this replica's secret" in replica
    assert "no process" in link


def test_nothing_is_open_to_others_without_users(open_place: Path) -> None:
    folder = write_app(open_place / "plain", SERVICE, entry="Probe")
    with RunningApp(folder) as app:
        app.up()
        modes = {path.name: path.stat().st_mode & 0o777 for path in app.runtime.iterdir()}
        assert app.runtime.stat().st_mode & 0o777 == modes["s"] == 0o700
        assert modes["control.sock"] == modes["link.sock"] == 0o600


def test_the_directories_let_users_through_and_show_them_nothing(app: RunningApp) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in app.runtime.iterdir()}
    assert app.runtime.stat().st_mode & 0o777 == modes["s"] == 0o711
    assert modes["control.sock"] == 0o600
    assert modes["lock"] == 0o600
    assert sockets(app).keys() == {"games", "nobody", "4711"}


def test_a_folder_above_that_keeps_users_out(open_place: Path) -> None:
    folder = write_app(
        open_place / "shut", SERVICE, TOML.replace('[services.Stranger]\nuser = "4711"', ""), entry="Probe"
    )
    (folder / "key").write_text("x")
    with RunningApp(folder, options=("--set", f"app.python={open_place}/venv/bin/python")) as app:
        app.up(wait=False)
        wait_until(lambda: app.daemon_ended, "svcd to give up")
        assert f"{app.base} lets no other user through (mode 0700)" in app.stderr
        assert f"`chmod o+x {app.base}`" in app.stderr


def test_only_root_starts_processes_of_others(open_place: Path) -> None:
    folder = write_app(
        open_place / "unprivileged",
        SERVICE,
        '[services.Probe]\nuser = "games"\nnice = -5\nrlimits.nofile = "unlimited"',
        entry="Probe",
    )
    base = Path(tempfile.mkdtemp(prefix="svcd-"))
    try:
        shutil.chown(base, "nobody")
        done = subprocess.run(
            [open_place / "venv/bin/python", *SVCD[1:], "up", "-f", folder / "svcd.toml"],
            env={"PATH": os.environ["PATH"], "SVCD_RUNTIME_DIR": f"{base}/run", "SVCD_LOG_DIR": f"{base}/log"},
            user="nobody",
            group="nogroup",
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    finally:
        shutil.rmtree(base)
    assert done.returncode == 1
    assert "services.Probe.user: only root can start processes as games" in done.stderr
    assert "services.Probe.nice: -5 is above the usual priority" in done.stderr
    assert "services.Probe.rlimits.nofile: unlimited is above svcd's own hard limit" in done.stderr


@pytest.mark.parametrize(
    ("toml", "errors"),
    [
        (
            '[services.Neighbour]\nuser = "no-such"\n[services.Probe]\ngroup = "mail"',
            ["services.Neighbour.user: no user no-such on this machine"],
        ),
        (
            '[services.Probe]\ngroup = "no-group"',
            ["cannot import service:Probe as its user: no group no-group on this machine"],
        ),
    ],
)
def test_a_user_that_does_not_exist(open_place: Path, tmp_path: Path, toml: str, errors: list[str]) -> None:
    folder = write_app(tmp_path / "unknown", SERVICE, toml, entry="Probe")
    folder.chmod(0o755)
    with RunningApp(folder, options=("--set", f"app.python={open_place}/venv/bin/python")) as app:
        app.base.chmod(0o755)
        app.up(wait=False)
        wait_until(lambda: app.daemon_ended, "svcd to give up")
        for error in errors:
            assert error in app.stderr
