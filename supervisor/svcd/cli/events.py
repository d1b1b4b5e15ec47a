"""`svcd events`: what happened, to every replica, by whose order, and to the daemon itself."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, EXIT_NOT_RUNNING, fail, places_of, with_shared
from svcd.cli.history import LINES, POLL, Wanted, history_options
from svcd.cli.instants import shown
from svcd.cli.table import colour_of, one_line
from svcd.config.problems import nearest
from svcd.host.logs import MISSED, LogFollower, tail

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from svcd.host.logs import LogLine

_KINDS = {"replica", "scale", "restart", "chaos", "daemon", "machine"}
"""Of which there may be none."""
_ALL = 1_000_000
"""More lines than the file of events ever has."""


@click.command("events")
@history_options("", "event")
def command(wanted: Wanted) -> None:
    """Show what happened, to all or to the services named; also after the app has stopped.

    Times are UTC. `--file` names the app's TOML file here, since -f follows.
    """
    path = places_of(wanted.sources).events
    follower = LogFollower(path) if wanted.follow else None  # first, so that none falls between what was and what comes
    past = list(_events(tail(path, _ALL)))
    if not past and follower is None:
        fail(f"nothing has happened yet: there is no event in {path}; `svcd up` starts the app", EXIT_NOT_RUNNING)
    for name in wanted.services:
        shared = with_shared([name], wanted.sources)
        if name.lower() not in _KINDS and not any(_is_meant(event, shared) for event in past):
            _missing(name, past, go_on=wanted.follow)
    services = with_shared(wanted.services, wanted.sources)
    _print(_chosen(past, services, wanted), as_json=wanted.as_json)
    try:
        while follower is not None:
            lines = follower.read()
            new = list(_events(lines))
            if any(line.text == MISSED for line in lines):
                click.echo(MISSED, err=True)
            _print([event for event in new if _is_meant(event, services)], as_json=wanted.as_json)
            if not new:
                time.sleep(POLL)
    except KeyboardInterrupt:
        return


def _missing(wanted: str, past: list[dict[str, Any]], *, go_on: bool) -> None:
    """Each service has an event from the start on; one that is declared since has none yet."""
    known = sorted({event["service"] for event in past if event["service"]})
    meant = nearest(wanted.partition("/")[0], known)
    hint = f"; did you mean {meant}?" if meant else ""
    message = f"nothing has happened to {wanted}; there are events of {', '.join(known) or 'no service'}{hint}"
    if not go_on:
        fail(message, EXIT_NO_SUCH_SERVICE)
    click.echo(f"svcd: {message}", err=True)


def _chosen(past: list[dict[str, Any]], services: tuple[str, ...], wanted: Wanted) -> list[dict[str, Any]]:
    start = wanted.start or ""  # any stamp is later
    chosen = [event for event in past if _is_meant(event, services) and event["time"] >= start]
    count = wanted.lines if wanted.lines is not None else len(chosen) if wanted.start else LINES
    return chosen[max(0, len(chosen) - count) :]


def _events(lines: Iterable[LogLine]) -> Iterator[dict[str, Any]]:
    return (event for line in lines if (event := _read(line.text)) is not None)


def _read(text: str) -> dict[str, Any] | None:
    """Read a line of the file; one that is no event, since its writer was killed in the middle, is left out."""
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) and {"time", "kind", "from", "to"} <= event.keys() else None


def _is_meant(event: dict[str, Any], services: tuple[str, ...]) -> bool:
    """Whether an event is of one of the services named; the daemon's own are of all, and of `daemon`."""
    if not services:
        return True
    names = {event["kind"], event["service"].lower(), f"{event['service']}/{event['replica']}".lower()}
    return any(name.lower() in names for name in services)


def _print(events: list[dict[str, Any]], *, as_json: bool) -> None:
    for event in events:
        click.echo(json.dumps(event, ensure_ascii=False) if as_json else _sentence(event))


def _sentence(event: dict[str, Any]) -> str:
    """`10:42:22.123  Words/0 #2  starting -> ready  after 0.41 s`."""
    whom = event["service"] or event["kind"]
    if event["replica"] is not None:
        whom = f"{event['service']}/{event['replica']}"
    number = f" #{event['generation']}" if event["generation"] else ""
    kind = event["kind"] if event["kind"] in {"scale", "restart", "chaos"} else ""
    to = click.style(event["to"], fg=colour_of(event["to"]))
    is_step = event["kind"] != "replica" or event["from"] != event["to"]
    steps = f"{event['from']} -> {to}" if event["from"] and is_step else to
    after = f"after {event['after']:.2f} s" if event["after"] is not None and is_step else ""
    words = [kind, steps, after, f"({one_line(event['reason'])})" if event["reason"] else ""]
    text = " ".join(filter(None, words))
    return f"{shown(event['time'])} {f'{whom}{number}':<20} {text}"
