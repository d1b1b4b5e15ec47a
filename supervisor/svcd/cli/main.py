"""`svcd`: the group of commands, each in a module of its own that is imported only when it is used."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from typing import NoReturn

import click

from svcd import __version__
from svcd.values.garbage import imported_for_good

_COMMANDS = {
    "init": "make a small app to start from",
    "check": "read the configuration and the dependency graph, start nothing",
    "config": "show what is in force, and who said so",
    "env": "show the environment of a replica",
    "schema": "print the JSON Schema of svcd.toml",
    "up": "start the app and keep it running",
    "down": "stop the app",
    "ps": "list the replicas",
    "status": "tell how the app is, and why",
    "events": "show what happened",
    "scale": "change how many replicas run",
    "restart": "end replicas and start them anew",
    "tasks": "list the background tasks",
    "call": "call one api of a service",
    "bench": "put load on one api and measure",
    "chaos": "break replicas on purpose, and see what becomes of it",
    "logs": "show what the replicas printed",
    "gpus": "list the GPUs of this box",
    "unit": "a systemd unit for the app",
}
"""Name -> short help, so that `svcd --help` imports nothing."""

_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}
"""What writing to the standard output can fail with."""


class Commands(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of use."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import it."""
        if cmd_name not in _COMMANDS:
            return None
        with imported_for_good():
            command: click.Command = importlib.import_module(f"svcd.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failure, 2 usage, 3 not running, 4 no such service, 5 timed out;"
    " 75 for `up` after `down --keep`.",
)
@click.version_option(__version__, prog_name="svcd")
def cli() -> None:
    """Turn one GPU box into a dependable inference platform."""


def main() -> None:
    """Run the command line; part of svcd itself when the packed program starts one."""
    _fill_closed_streams()
    if getattr(sys, "frozen", False):
        from svcd.cli.parts import begin  # noqa: PLC0415 - only the packed program gets here

        begin(sys.argv[1:])
    # https://no-color.org: set and not empty. None lets click look whether the output is a terminal.
    try:
        try:
            cli(prog_name="svcd", color=False if os.environ.get("NO_COLOR") else None)
        finally:
            sys.stdout.flush()  # what cannot be written is to be said here, not at the interpreter's exit
    except OSError as error:
        if error.errno not in _UNWRITABLE or error.filename is not None:
            raise
        _cannot_write(error)


def _fill_closed_streams() -> None:
    """Lead standard streams that were closed before svcd began to nowhere, so that no socket gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            # The kernel gives the lowest number that is free, which is that of the stream.
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _cannot_write(error: OSError) -> NoReturn:
    """End with a message; a pipe that nobody reads any more has had enough, and is told nothing."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer goes there at exit
    if error.errno != errno.EPIPE:
        sys.stderr.write(f"svcd: cannot write the output: {error.strerror}\n")
    sys.exit(1)
