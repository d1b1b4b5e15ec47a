"""`svcd logs`: what the replicas printed, in the order of time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, app_options_without_f, fail, places_of, sources_of
from svcd.host.logs import LogFollower, tail

if TYPE_CHECKING:
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

    The daemon's own log is called daemon. `--file` names the app's TOML file here, since -f follows.
    """
    folder = Path(places_of(sources_of(files, profile, sets)).logs)
    found = _choose(folder, services)
    try:
        _show(folder, found, services, lines, follow=follow)
    except KeyboardInterrupt:
        return


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
    logs = sorted(folder.glob("*.log"))
    if not services:
        return [path for path in logs if path.stem not in {"daemon", "discovery"}]
    chosen = []
    for wanted in services:
        name = wanted.lower().replace("/", ".")
        matching = [path for path in logs if path.stem.lower() == name or path.stem.lower().rpartition(".")[0] == name]
        if not matching:
            known = sorted({_title(path).partition("/")[0] for path in logs})
            fail(f"no log of {wanted} in {folder}; there is {', '.join(known) or 'none'}", EXIT_NO_SUCH_SERVICE)
        chosen += matching
    return chosen


def _print(lines: list[tuple[LogLine, Path]]) -> bool:
    for line, path in sorted(lines, key=lambda item: item[0].stamp):
        title = _title(path)
        colour = _COLOURS[sum(title.encode()) % len(_COLOURS)]
        click.echo(f"{click.style(f'{line.stamp[11:23]} {title:<16}', fg=colour)} {line.text}")
    return bool(lines)


def _title(path: Path) -> str:
    name, _, index = path.stem.rpartition(".")
    return f"{name}/{index}" if name else path.stem
