"""`svcd restart SERVICE[/N]`: end replicas and start them anew, one after the other."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import (
    EXIT_NO_SUCH_SERVICE,
    EXIT_TIMED_OUT,
    EXIT_USAGE,
    app_options,
    call_errors,
    daemon_of,
    fail,
    sources_of,
)
from svcd.cli.durations import Duration
from svcd.cli.table import colour_of, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from svcd.link.blocking import BlockingClient


@click.command("restart")
@click.argument("target", metavar="SERVICE[/N]")
@app_options
@click.option("--timeout", type=Duration(), help="Give up waiting after so long (5); what was begun goes on.")
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects: replica, state, reason.")
def command(
    target: str,
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    timeout: float | None,
    *,
    as_json: bool,
) -> None:
    """Restart the replicas of a service in order, or one; return when they are ready again.

    Each finishes the calls it has, ends, and is ready before the next one's turn. Earlier failures are forgotten, so
    that a failed replica gets all its attempts again. When one does not come back, the rest are left as they are (1).
    """
    service, replica = _parse(target)
    outcomes = []
    with call_errors(), daemon_of(sources_of(files, profile, sets)) as daemon:
        for news in _news(daemon, service, replica, timeout):
            if "change" in news:
                _show(news["change"])
            else:
                outcomes.append({name: news[name] for name in ("restarted", "state", "reason")})
    if as_json:
        click.echo(json.dumps([{"replica": each.pop("restarted"), **each} for each in map(dict, outcomes)], indent=2))
    last = outcomes[-1]
    if last["state"] not in {"ready", "done"}:
        reason = f": {one_line(last['reason'])}" if last["reason"] else ""
        fail(f"{last['restarted']} did not come back, it is {last['state']}{reason}")
    if not as_json:
        names = ", ".join(each["restarted"] for each in outcomes)
        click.echo(f"restarted {names}")


def _parse(target: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"([^/]+)(?:/([0-9]{1,9}))?", target)
    if found is None:
        fail(f"{target!r} is not SERVICE or SERVICE/N, such as Classifier or Classifier/1", EXIT_USAGE)
    return found[1], None if found[2] is None else int(found[2])


def _news(daemon: BlockingClient, service: str, replica: int | None, timeout: float | None) -> Iterator[dict[str, Any]]:
    from svcd_ipc.errors import DeadlineExceeded  # noqa: PLC0415 - commands that need no daemon need no msgpack

    waited_for = ""
    try:
        for news in daemon.stream("restart", {"service": service, "replica": replica}, timeout=timeout):
            if "unknown" in news:
                known = ", ".join(news.get("services", news.get("replicas", ()))) or "none that stays"
                what = "service" if "services" in news else "replica"
                fail(f"no {what} {news['unknown']}; there is {known}", EXIT_NO_SUCH_SERVICE)
            if "change" in news:
                waited_for = "; {service}/{replica} is {state}".format_map(news["change"])
            yield news
    except DeadlineExceeded:
        fail(
            f"not restarted after {timeout:g} s{waited_for}; `svcd status {service}` shows how it goes on",
            EXIT_TIMED_OUT,
        )


def _show(change: dict[str, Any]) -> None:
    name, state, reason = f"{change['service']}/{change['replica']}", change["state"], one_line(change["reason"])
    if reason or state in {"ready", "done", "failed"}:  # the steps between say nothing
        click.echo(f"  {name:<20} {click.style(f'{state:<9}', fg=colour_of(state))} {reason}".rstrip(), err=True)
