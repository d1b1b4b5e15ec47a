"""`svcd env SERVICE`: the environment that a replica gets, all of it and nothing else."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from typing import TYPE_CHECKING, NoReturn

import click

from svcd.cli.common import (
    EXIT_NO_SUCH_SERVICE,
    EXIT_USAGE,
    app_options,
    call_errors,
    connect,
    documents_of,
    fail,
    places_of,
    sources_of,
)
from svcd.cli.graph import app_of
from svcd.values.commands import Sign
from svcd.values.secrets import NOT_SHOWN

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.config import Sources
    from svcd.link.blocking import BlockingClient

Variables = dict[bytes, bytes | str]
"""Values are bytes; text says why there is none to be shown."""


@click.command("env")
@click.argument("target", metavar="SERVICE[/N]")
@click.option("--show-secrets", is_flag=True, help="Show the values of secrets too.")
@click.option("--json", "as_json", is_flag=True, help="Print an object; values that are not shown are null.")
@app_options
def command(
    target: str,
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    *,
    show_secrets: bool,
    as_json: bool,
) -> None:
    """Print the environment of a replica, by default the first: exactly what its process gets.

    Of a running app it is what the daemon gave it; otherwise what `svcd up` would give it from this shell.
    """
    service, index = _parse(target)
    sources = sources_of(files, profile, sets)
    daemon = connect(places_of(sources))
    if daemon is not None:
        variables = _given(daemon, service, index, show_secrets=show_secrets)
    else:
        variables = _planned(sources, service, show_secrets=show_secrets)
    if as_json:
        shown = {os.fsdecode(name): _json_value(value) for name, value in variables.items()}
        click.echo(json.dumps(shown, indent=2))
        return
    for name, value in variables.items():
        sys.stdout.buffer.write(_line(name, value) + b"\n")


def _parse(target: str) -> tuple[str, int]:
    found = re.fullmatch(r"([^/]+)(?:/([0-9]{1,9}))?", target)
    if found is None:
        fail(f"{target!r} is not SERVICE or SERVICE/N, such as Classifier or Classifier/1", EXIT_USAGE)
    return found[1], int(found[2] or 0)


def _given(daemon: BlockingClient, service: str, index: int, *, show_secrets: bool) -> Variables:
    with call_errors(), daemon:
        args = {"service": service, "replica": index, "secrets": show_secrets}
        answer = daemon.call("environment", args, timeout=10)
    if "replicas" in answer:
        known = ", ".join(answer["replicas"]) or "none"
        fail(f"no replica {answer['unknown']}; there is {known}", EXIT_NO_SUCH_SERVICE)
    if "unknown" in answer:
        _no_such(service, answer["services"])
    return {name: NOT_SHOWN if value is None else value for name, value in answer["variables"]}


def _planned(sources: Sources, service: str, *, show_secrets: bool) -> Variables:
    app = app_of(documents_of(sources))
    name = {known.lower(): known for known in app.services}.get(service.lower())
    if name is None:
        _no_such(service, sorted(app.services))
    from svcd.daemon import planned_environment  # noqa: PLC0415 - a running app's daemon is asked instead

    click.echo(f"the app is not running; this is what {name}/0 would get from this shell", err=True)
    variables, secret = planned_environment(app, name)
    shown: Variables = {
        os.fsencode(key): NOT_SHOWN if key in secret and not show_secrets else os.fsencode(value)
        for key, value in sorted(variables.items())
    }
    if command := app.services[name].command:
        later = "(chosen when it starts)"
        shown[b"PORT"] = str(command.port).encode() if command.port else later
        shown[b"SOCKET"] = later
        if command.ready.sign is Sign.NOTIFY:
            shown[b"NOTIFY_SOCKET"] = later
    if gpus := app.services[name].resources.gpu:
        shown[b"CUDA_VISIBLE_DEVICES"] = f"({gpus} GPU{'s' if gpus > 1 else ''}, chosen when it starts)"
    return shown


def _no_such(service: str, known: list[str]) -> NoReturn:
    fail(f"no service {service}; this app has {', '.join(known)}", EXIT_NO_SUCH_SERVICE)


def _json_value(value: bytes | str) -> str | None:
    return os.fsdecode(value) if isinstance(value, bytes) else None


def _line(name: bytes, value: bytes | str) -> bytes:
    """One line that a shell can read; what is not shown is a comment."""
    if isinstance(value, str):
        return b"# " + name + b"=" + value.encode()
    return name + b"=" + os.fsencode(shlex.quote(os.fsdecode(value)))
