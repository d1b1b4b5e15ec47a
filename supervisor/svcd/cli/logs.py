"""`svcd logs`: what the replicas printed, in the order of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, fail, places_of, with_shared
from svcd.cli.history import LINES, POLL, Wanted, history_options
from svcd.cli.log_lines import Line, merged, objects, starts_of, texts, title_of, with_starts
from svcd.host.logs import LogFollower, since, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from svcd.host.logs import LogLine


@click.command("logs")
@history_options(" of each log", "line")
def command(wanted: Wanted) -> None:
    """Show the logs of all services, or of those named; also after the app has stopped.

    Times are UTC. The daemon's own log is called daemon. `--file` names the app's TOML file here, since -f follows.
    """
    where = places_of(wanted.sources)
    folder = Path(where.logs)
    services = with_shared(wanted.services, wanted.sources)

    def show(lines: Iterable[Line]) -> None:
        for line in lines:
            for text in objects(line) if wanted.as_json else texts(line):
                click.echo(text)

    found = _choose(folder, services)
    # Followers first, so that no line falls between what was there, or who is missing, and what comes.
    followers = {path: LogFollower(str(path)) for path in found} if wanted.follow else {}
    for name in wanted.services:
        if not _choose(folder, with_shared([name], wanted.sources)):
            _missing(folder, name, go_on=wanted.follow)
    try:
        show(with_starts(merged((path, _past(path, wanted)) for path in found), starts_of(where.events)))
        if wanted.follow:
            _follow(folder, services, followers, show)
    except KeyboardInterrupt:
        return


def _past(path: Path, wanted: Wanted) -> list[LogLine]:
    if wanted.start is None:
        return tail(str(path), LINES if wanted.lines is None else wanted.lines)
    found = since(str(path), wanted.start)
    return found if wanted.lines is None else found[max(0, len(found) - wanted.lines) :]


def _follow(
    folder: Path,
    services: tuple[str, ...],
    followers: dict[Path, LogFollower],
    show: Callable[[Iterable[Line]], None],
) -> None:
    while True:
        for path in _choose(folder, services):
            if path not in followers:
                followers[path] = LogFollower(str(path), from_start=True)
        lines = merged((path, follower.read()) for path, follower in followers.items())
        show(lines)
        if not lines:
            time.sleep(POLL)


def _choose(folder: Path, services: tuple[str, ...]) -> list[Path]:
    """The log files meant: `Vote.0.log` for Vote or Vote/0, `ingress.log`, `daemon.log`."""
    if not services:
        return [path for path in _all(folder) if path.stem not in {"daemon", "discovery"}]
    return list(dict.fromkeys(path for name in services for path in _logs_of(folder, name)))


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.log"))


def _logs_of(folder: Path, wanted: str) -> list[Path]:
    name = wanted.lower().replace("/", ".")
    return [path for path in _all(folder) if name in {path.stem.lower(), path.stem.lower().rpartition(".")[0]}]


def _missing(folder: Path, wanted: str, *, go_on: bool) -> None:
    """A log begins with the first line: nothing tells a service that is silent from one that is misspelt."""
    known = sorted({title_of(path).partition("/")[0] for path in _all(folder)})
    message = (
        f"{wanted} has printed nothing, or there is no such service; in {folder} is {', '.join(known) or 'no log'}"
    )
    if not go_on:
        fail(message, EXIT_NO_SUCH_SERVICE)
    click.echo(f"svcd: {message}", err=True)
