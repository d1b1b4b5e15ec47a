"""`svcd status [SERVICE]`: the story of a service: what it wants, what is, why, and how its processes ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, app_options, call_errors, daemon_of, fail, sources_of
from svcd.cli.instants import shown
from svcd.cli.table import age, colour_of, one_line, printable, size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LAST_LINES = 10
"""Lines of a process's last words that are shown; `svcd logs` has them all."""


@click.command("status")
@click.argument("service", required=False)
@app_options
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one object.")
def command(
    service: str | None, files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], *, as_json: bool
) -> None:
    """Tell how the app is, or one service: what it wants, what is, why, and how its last processes ended."""
    with call_errors(), daemon_of(sources_of(files, profile, sets)) as daemon:
        status = daemon.call("status", {"service": service}, timeout=10)
    if "unknown" in status:
        fail(f"no service {service}; this app has {', '.join(status['services'])}", EXIT_NO_SUCH_SERVICE)
    if as_json:
        click.echo(json.dumps(status, indent=2))
        return
    lines = list(_app(status)) if service is None else []
    for story in status["services"]:
        lines += [*([""] if lines else []), *_service(story)]
    for line in lines:
        click.echo(line.rstrip())


def _app(status: dict[str, Any]) -> Iterator[str]:
    how = "ready" if status["ready"] else "starting"
    yield f"{status['app']} is {how} at {status['url']}; svcd {status['svcd']}, pid {status['pid']}"
    for trouble in status["troubles"]:
        yield click.style(f"trouble since {_time(trouble['since'])}: {trouble['text']}", fg="red")


def _service(story: dict[str, Any]) -> Iterator[str]:
    state = click.style(story["state"], fg=colour_of(story["state"]))
    count = "" if story["state"] == "done" else f": {story['ready']} of {story['wanted']} replicas ready"
    yield f"{click.style(story['service'], bold=True)} is {state}{count}"
    if story["shared_by"]:
        yield f"  shared by {', '.join(story['shared_by'])}"
    yield f"  wants     {_wants(story)}"
    if story["calls"]:
        yield f"  calls     {', '.join(map(_callee, story['calls']))}"
    if story["called_by"]:
        yield f"  called by {', '.join(story['called_by'])}"
    if story["after"]:
        yield f"  after     {', '.join('{service} ({state})'.format_map(each) for each in story['after'])}"
    if story["urls"]:
        yield f"  at        {', '.join(story['urls'])}"
    yield f"  version   {story['version']}"
    for replica in story["replicas"]:
        yield from _replica(story["service"], replica)


def _wants(story: dict[str, Any]) -> str:
    resources = story["resources"]
    each = [f"{resources['gpu']} GPU" + ("s" if resources["gpu"] > 1 else "")] if resources["gpu"] else []
    each += [f"{resources['cpu']:g} CPUs"] if resources["cpu"] else []
    each += [f"{size(resources['memory'])} of memory"] if resources["memory"] else []
    count = f"{story['wanted']} replica" + ("s" if story["wanted"] != 1 else "")
    return f"{count}, each {', '.join(each)}" if each else count


def _callee(callee: dict[str, Any]) -> str:
    return f"{callee['service']} ({callee['state']}{'' if callee['required'] else ', optional'})"


def _replica(service: str, row: dict[str, Any]) -> Iterator[str]:
    state = click.style(row["state"], fg=colour_of(row["state"]))
    facts = [f"{state} for {age(row['since'])}"]
    facts += [f"pid {row['pid']}"] if row["pid"] else []
    facts += [f"generation {row['generation']}"]
    facts += [f"{row['in_flight']} in flight"] if row["in_flight"] else []
    facts += [f"GPUs {', '.join(row['gpus'])}"] if row["gpus"] else []
    name = f"{service}/{row['replica']}"
    yield f"  {name:<9} {', '.join(facts)}"
    if row["reason"]:
        first, *more = row["reason"].splitlines()
        yield f"    why       {one_line(first)}"
        yield from (f"              {printable(line)}" for line in more)
    if row["failures"]:
        until = f"; next attempt {_due(row['retry_at'])}" if row["retry_at"] else ""
        yield f"    failures  {row['failures']} of {row['budget']} in a row{until}"
    if row["state"] == "failed":
        yield f"    next      `svcd restart {service}/{row['replica']}` tries it again"
    shown_before = None
    for ending in row["endings"]:
        yield f"    {_time(ending['time'])} #{ending['generation']} ended {_how(ending)}"
        if ending["last_lines"] != shown_before:  # most end as the one before
            yield from (f"      | {printable(line)}" for line in ending["last_lines"][-_LAST_LINES:])
        shown_before = ending["last_lines"]


def _how(ending: dict[str, Any]) -> str:
    return f"after {ending['after']:.1f} s of being {ending['from']}: {one_line(ending['reason'])}"


def _time(instant: str) -> str:
    return shown(instant.replace("+00:00", "Z"))


def _due(instant: str) -> str:
    seconds = (datetime.fromisoformat(instant) - datetime.now(UTC)).total_seconds()
    return f"in {seconds:.1f} s" if seconds > 0 else "now"
