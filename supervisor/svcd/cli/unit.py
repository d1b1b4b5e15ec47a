"""`svcd unit print`: a systemd unit for the app."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import click

from svcd.cli.common import app_options, documents_of, sources_of

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """\
[Unit]
Description=svcd: {name}
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
# READY=1 comes when every service is ready: loading models may take its time.
TimeoutStartSec=infinity
ExecStart={command}
WorkingDirectory={root}
RuntimeDirectory=svcd/{name}
RuntimeDirectoryMode=0700
LogsDirectory=svcd/{name}
Environment=SVCD_RUNTIME_DIR=%t/svcd/{name} SVCD_LOG_DIR=%L/svcd/{name}
# SIGTERM goes to the daemon, which stops everything in order; what is left after that is systemd's to kill.
KillMode=mixed
TimeoutStopSec=120
Restart=on-failure
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


@click.group("unit")
def command() -> None:
    """A systemd unit for the app."""


@command.command("print")
@app_options
def print_unit(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...]) -> None:
    """Print a unit that runs the app: `svcd unit print > /etc/systemd/system/svcd-NAME.service`."""
    documents = documents_of(sources_of(files, profile, sets))
    words = [*_program(), "up"]
    words += [word for file in files for word in ("-f", str(file.absolute()))]
    words += ["--profile", profile] if profile else []
    words += [word for value in sets for word in ("--set", value)]
    command_line = " ".join(_quote(word) for word in words)
    click.echo(
        TEMPLATE.format(name=documents.app_name, root=_escape(str(documents.root)), command=command_line), nl=False
    )


def _program() -> list[str]:
    """This svcd, as a unit has to name it; `python -m svcd` has no program of its own."""
    program = shutil.which(sys.argv[0]) or sys.argv[0]
    if program.endswith("__main__.py"):
        return [sys.executable, "-m", "svcd"]
    return [os.path.abspath(program)]  # noqa: PTH100 - a link to the program is to stay one


def _quote(word: str) -> str:
    """Quote one word of ExecStart= (systemd.service(5)): specifiers, variables and spaces stay as they are written."""
    word = _escape(word).replace("$", "$$")
    if any(character in word for character in " \t\"'\\;"):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return word


def _escape(text: str) -> str:
    return text.replace("%", "%%")
