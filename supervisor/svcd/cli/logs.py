"""`svcd logs`: what the replicas printed, in the order of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, app_options_without_f, fail, places_of, sources_of, with_shared
from svcd.cli.instants import since_option
from svcd.cli.log_lines import Line, merged, objects, starts_of, texts, title_of, with_starts
from svcd.host.logs import LogFollower, since, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from svcd.host.logs import LogLine

_POLL = 0.1
"""Seconds between looks at the files when following."""
_LINES = 100
"""Lines of each log, unless said."""


@click.command("logs")
@click.argument("services", nargs=-1, metavar="[SERVICE[/N]]...")
@app_options_without_f
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until interrupted.")
@click.option(
    "-n", "--lines", type=click.IntRange(0), help="The last so many of each log. [default: 100, or all with --since]"
)
@since_option
@click.option("--json", "as_json", is_flag=True, help="Print each line as an object on a line of its own.")
def command(
    services: tuple[str, ...],
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    lines: int | None,
    start: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Show the logs of all services, or of those named; also after the app has stopped.

    Times are UTC. The daemon's own log is called daemon. `--file` names the app's TOML file here, since -f follows.
    """
    refuse_files(services)
    sources = sources_of(files, profile, sets)
    where = places_of(sources)
    folder = Path(where.logs)
    for name in services:
        if not _choose(folder, with_shared([name], sources)):
            _missing(folder, name, go_on=follow)
    services = with_shared(services, sources)

    def past(path: Path) -> list[LogLine]:
        found = tail(str(path), _LINES if lines is None else lines) if start is None else since(str(path), start)
        return found if lines is None else found[len(found) - lines if lines < len(found) else 0 :]

    def show(lines: Iterable[Line]) -> None:
        for line in lines:
            for text in objects(line) if as_json else texts(line):
                click.echo(text)

    found = _choose(folder, services)
    # Followers first, so that no line falls between what was there and what comes.
    followers = {path: LogFollower(str(path)) for path in found} if follow else {}
    try:
        show(with_starts(merged((path, past(path)) for path in found), starts_of(where.events)))
        if follow:
            _follow(folder, services, followers, show)
    except KeyboardInterrupt:
        return


def refuse_files(services: Iterable[str]) -> None:
    """End a command that took the app's file for a service: here -f follows."""
    for name in services:
        if name.endswith(".toml"):
            fail(f"{name} is no service; -f follows here, `--file {name}` names the app's file", EXIT_NO_SUCH_SERVICE)


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
            time.sleep(_POLL)


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
