"""`svcd unit print`: a systemd unit for the app."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from typing import TYPE_CHECKING

import click

from svcd.cli.common import app_options, documents_of, sources_of, words_of
from svcd.host.frozen import IS_FROZEN
from svcd.host.program import own_command

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = """\
[Unit]
Description=svcd: {name}
Wants=network-online.target
After=network-online.target nvidia-persistenced.service
# A start that fails is tried again for ever, see RestartSec=.
StartLimitIntervalSec=0

[Service]
Type=notify
{access}\
{user}\
ExecStart={command}
WorkingDirectory={root}
RuntimeDirectory=svcd/{name}
RuntimeDirectoryMode=0700
{preserve}\
LogsDirectory=svcd/{name}
StateDirectory=svcd/{name}
StateDirectoryMode=0700
Environment=SVCD_RUNTIME_DIR=%t/svcd/{name} SVCD_LOG_DIR=%L/svcd/{name} SVCD_STATE_DIR=%S/svcd/{name}
# Ready is every service ready: loading models may take its time, and a busy GPU is waited for.
TimeoutStartSec=infinity
# SIGTERM goes to the daemon alone, which stops everything in order and asks for more time while it does so.
{kill}\
TimeoutStopSec=30
Restart=on-failure
RestartSec={pause}
# A replica that the kernel kills for want of memory is the daemon's to restart: the others go on.
OOMPolicy=continue
# Replicas get control groups of their own, for their memory and CPU limits.
Delegate=yes
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
PRESERVE = """\
# What outlives the daemon (orphan_grace) is found there by the next one.
RuntimeDirectoryPreserve=restart
"""
KILL_ALL, KILL_ONE = (
    "KillMode=mixed\n",
    "# ... and what outlives the daemon is left to the next one, or to its keeper.\nKillMode=process\n",
)
LOADER_NOTIFIES = "# The packed program's loader is the main process; what says READY is its child.\nNotifyAccess=all\n"


@click.group("unit")
def command() -> None:
    """A systemd unit for the app."""


@command.command("print", short_help="print a unit that runs the app")
@app_options
def print_unit(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...]) -> None:
    """Print a unit that runs the app: `svcd unit print > /etc/systemd/system/svcd-NAME.service`.

    It runs as whoever prints it.
    """
    sources = sources_of(files, profile, sets)
    documents = documents_of(sources)
    for name in sorted(os.environ):
        if name.startswith("SVCD__"):
            click.echo(f"svcd: {name} is set here and is not in the unit: add Environment={name}=... to it", err=True)
    click.echo(
        TEMPLATE.format(
            name=documents.app_name,
            access=LOADER_NOTIFIES if IS_FROZEN else "",
            preserve=PRESERVE if documents.orphan_grace else "",
            kill=KILL_ONE if documents.orphan_grace else KILL_ALL,
            pause=1 if documents.orphan_grace else 5,
            user=_user(os.getuid()),
            command=_command_line([*_program(), "up", *words_of(tuple(sources.files), profile, sets)]),
            root=_escape(str(documents.root)),
        ),
        nl=False,
    )


def _user(uid: int) -> str:
    """A system unit without User= runs as root, and its app is found where root's are."""
    if uid == 0:
        return ""
    name = pwd.getpwuid(uid).pw_name
    return f"# A shell finds the app by SVCD_RUNTIME_DIR, set as below.\nUser={_escape(name)}\n"


def _program() -> tuple[str, ...]:
    """Return this svcd as a unit has to name it: the script it was called by, so that a link to it stays one."""
    called = shutil.which(sys.argv[0])
    if IS_FROZEN or called is None or called.endswith("__main__.py"):
        return own_command()
    return (os.path.abspath(called),)  # noqa: PTH100 - pathlib would keep `..`


def _command_line(words: list[str]) -> str:
    """Quote the words of ExecStart= (systemd.service(5)): specifiers, variables and spaces stay as they are written."""
    # Variables are not looked for in the first word, and so a doubled $ would stay two there.
    program, *arguments = words
    return " ".join([_quote(program), *(_quote(word.replace("$", "$$")) for word in arguments)])


def _quote(word: str) -> str:
    word = _escape(word)
    if not word or any(character in word for character in " \t\n\"'\\;"):
        return '"' + word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return word


def _escape(text: str) -> str:
    return text.replace("%", "%%")
