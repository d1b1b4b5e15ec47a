"""What `svcd unit print` prints: whose user, which program, which options, and every odd path as it is."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import SVCD, write_app
from svcd.cli.unit import _command_line, _user

if TYPE_CHECKING:
    from collections.abc import Mapping

PING = """
    import svcd

    @svcd.service
    class Ping:
        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""
SCRIPT = Path(sys.prefix) / "bin" / "svcd"


def unit(
    folder: Path, *options: str, program: list[str] = SVCD, env: Mapping[str, str] | None = None
) -> tuple[dict[str, list[str]], str]:
    """The settings of the printed unit by key, and what was said on stderr."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SVCD")}
    done = subprocess.run(
        [*program, "unit", "print", *options],
        cwd=folder,
        env={**clean, **(env or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    settings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key, []).append(value)
    return settings, done.stderr


def test_the_script_of_a_virtual_environment_is_named_by_its_own_path(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", PING, '[profiles.prod.services.Ping]\nversion = "2"\n', entry="Ping")
    settings, said = unit(folder, "--profile", "prod", "--set", "app.http=127.0.0.1:0", program=[str(SCRIPT)])
    assert said == ""
    assert shlex.split(settings["ExecStart"][0]) == [
        *(str(SCRIPT), "up", "-f", str(folder / "svcd.toml")),
        *("--profile", "prod", "--set", "app.http=127.0.0.1:0"),
    ]
    assert settings["WorkingDirectory"] == [str(folder)]


def test_a_module_is_run_by_its_interpreter(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", PING, entry="Ping")
    settings, _ = unit(folder, "-f", "svcd.toml")
    assert shlex.split(settings["ExecStart"][0]) == [*SVCD, "up", "-f", str(folder / "svcd.toml")]


def test_directories_are_systemds_and_svcd_is_told(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", PING, entry="Ping")
    settings, _ = unit(folder, "--set", "app.name=digits")
    assert settings["RuntimeDirectory"] == settings["LogsDirectory"] == settings["StateDirectory"] == ["svcd/digits"]
    places = "SVCD_RUNTIME_DIR=%t/svcd/digits SVCD_LOG_DIR=%L/svcd/digits SVCD_STATE_DIR=%S/svcd/digits"
    assert settings["Environment"] == [places]
    assert settings["Type"] == ["notify"]
    assert "NotifyAccess" not in settings


def test_variables_that_are_not_carried_over_are_named(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", PING, entry="Ping")
    secret = {"SVCD__SERVICES__PING__ENVS__KEY": "s3cret"}
    settings, said = unit(folder, env=secret)
    assert said == (
        "svcd: SVCD__SERVICES__PING__ENVS__KEY is set here and is not in the unit:"
        " add Environment=SVCD__SERVICES__PING__ENVS__KEY=... to it\n"
    )
    assert "s3cret" not in str(settings)


def test_it_runs_as_who_prints_it() -> None:
    assert _user(0) == ""
    assert _user(65534).endswith("\nUser=nobody\n")


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("plain/path-1.toml", "plain/path-1.toml"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("it's", '"it\'s"'),
        (";", '";"'),
        ("", '""'),
        ("two\nlines", '"two\\nlines"'),
    ],
)
def test_words_stay_as_they_are(word: str, written: str) -> None:
    assert _command_line(["/usr/bin/svcd", word]) == f"/usr/bin/svcd {written}"


def test_a_dollar_in_the_programs_own_path_is_not_doubled() -> None:
    assert _command_line(["/opt/$x/svcd", "up"]) == "/opt/$x/svcd up"


def test_the_unit_of_an_app_that_outlives_its_daemon_lets_it(tmp_path: Path) -> None:
    plain, _ = unit(write_app(tmp_path / "plain", PING, entry="Ping"))
    graceful, _ = unit(write_app(tmp_path / "graceful", PING, 'orphan_grace = "30s"\n', entry="Ping"))
    assert (plain["KillMode"], plain.get("RuntimeDirectoryPreserve")) == (["mixed"], None)
    assert (graceful["KillMode"], graceful["RuntimeDirectoryPreserve"]) == (["process"], ["restart"])
