"""`svcd logs`: what the replicas printed, in the order of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, app_options_without_f, fail, places_of, sources_of
from svcd.config import ConfigError, read
from svcd.host.logs import LogFollower, tail

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.config import Sources
    from svcd.host.logs import LogLine

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
_POLL = 0.1
"""Seconds between looks at the files when following."""


@click.command("logs")
@click.argument("services", nargs=-1, metavar="[SERVICE[/N]]...")
@app_options_without_f
@click.option("-f", "--follow", is_flag=True, help="Go on as lines come, until interrupted.")
@click.option("-n", "--lines", type=int, default=100, show_default=True, help="How many last lines of each log.")
def command(
    services: tuple[str, ...],
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    lines: int,
    *,
    follow: bool,
) -> None:
    """Show the logs of all services, or of those named; also after the app has stopped.

    Times are UTC. The daemon's own log is called daemon. `--file` names the app's TOML file here, since -f follows.
    """
    sources = sources_of(files, profile, sets)
    folder = Path(places_of(sources).logs)
    wanted = {name: (name, *_shared_log(name, sources)) for name in services}
    for name, names in wanted.items():
        if not _choose(folder, names):
            _missing(folder, name, go_on=follow)
    names = tuple(dict.fromkeys(each for names in wanted.values() for each in names))
    try:
        _show(folder, _choose(folder, names), names, lines, follow=follow)
    except KeyboardInterrupt:
        return


def _shared_log(service: str, sources: Sources) -> Iterator[str]:
    """The process that a service shares, whose name its log has, where that is not its own."""
    try:
        groups = read(sources).groups
    except ConfigError:  # it may be wrong by now; there may be logs all the same
        return
    name, slash, index = service.partition("/")
    for first, *others in groups:
        if name.lower() in map(str.lower, others):
            yield f"{first}{slash}{index}"


def _show(folder: Path, found: list[Path], services: tuple[str, ...], lines: int, *, follow: bool) -> None:
    # Followers first, so that no line falls between what was there and what comes.
    followers = {path: LogFollower(str(path)) for path in found} if follow else {}
    _print([(line, path) for path in found for line in tail(str(path), lines)])
    while follow:
        for path in _choose(folder, services):
            if path not in followers:
                followers[path] = LogFollower(str(path), from_start=True)
        if not _print([(line, path) for path, follower in followers.items() for line in follower.read()]):
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
    known = sorted({_title(path).partition("/")[0] for path in _all(folder)})
    message = (
        f"{wanted} has printed nothing, or there is no such service; in {folder} is {', '.join(known) or 'no log'}"
    )
    if not go_on:
        fail(message, EXIT_NO_SUCH_SERVICE)
    click.echo(f"svcd: {message}", err=True)


def _print(lines: list[tuple[LogLine, Path]]) -> bool:
    for line, path in sorted(lines, key=lambda item: item[0].stamp):
        title = _title(path)
        colour = _COLOURS[sum(title.encode()) % len(_COLOURS)]
        click.echo(f"{click.style(f'{_time(line.stamp)} {title:<16}', fg=colour)} {line.text}")
    return bool(lines)


def _time(stamp: str) -> str:
    """The time of day, in UTC; with the date when that is not today."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return stamp[11:23] if stamp.startswith(today) else stamp[:23].replace("T", " ")


def _title(path: Path) -> str:
    name, _, index = path.stem.rpartition(".")
    return f"{name}/{index}" if name else path.stem
