"""Log lines as `svcd logs` shows them: one after the other in time, each with whose it is, or as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from svcd.cli.instants import shown
from svcd.host.logs import tail
from svcd.values.records import read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from svcd.host.logs import LogLine
    from svcd.values.records import Record

_COLOURS = ("cyan", "green", "magenta", "yellow", "blue", "red")
_LEVELS = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}
_EVENTS = 100_000
"""More than the file of events has lines."""


class Line(NamedTuple):
    """A line, or a separator between two runs, in the order in which they are shown."""

    stamp: str
    title: str
    """`Words/0`; empty for a separator."""
    text: str


def title_of(path: Path) -> str:
    """Return whose log a file is: `Words/0`, `ingress`."""
    name, _, index = path.stem.rpartition(".")
    return f"{name}/{index}" if name else path.stem


def merged(logs: Iterable[tuple[Path, Sequence[LogLine]]]) -> list[Line]:
    """Return the lines of several logs by their time. A line without a stamp goes with the one before."""
    lines = []
    for path, found in logs:
        stamp, title = "", title_of(path)
        for line in found:
            stamp = line.stamp or stamp
            lines.append(Line(stamp, title, line.text))
    return sorted(lines, key=lambda line: line.stamp)


def with_starts(lines: list[Line], starts: Sequence[str]) -> list[Line]:
    """Return the lines with a separator where a run began after the first of them."""
    between = [
        Line(stamp, "", f"-- svcd up at {shown(stamp)} --") for stamp in starts if lines and stamp > lines[0].stamp
    ]
    return sorted([*between, *lines], key=lambda line: line.stamp)


def starts_of(events: str) -> list[str]:
    """Return when the daemon was started, by the file of events."""
    starts = []
    for line in tail(events, _EVENTS):
        if '"daemon"' in line.text and '"started"' in line.text:
            event = json.loads(line.text)
            if (event["kind"], event["to"]) == ("daemon", "started"):
                starts.append(event["time"])
    return starts


def texts(line: Line) -> Iterator[str]:
    """Give the lines of the terminal for a line of a log."""
    if not line.title:
        yield click.style(line.text, dim=True)
        return
    colour = _COLOURS[sum(line.title.encode()) % len(_COLOURS)]
    head = click.style(f"{shown(line.stamp)} {line.title:<16}", fg=colour)
    plain, record = read(line.text)
    if plain or record is None:
        yield f"{head} {plain}"
    if record is not None:
        first, *more = record.text().splitlines()
        yield f"{head} {click.style(record.level, fg=_LEVELS.get(record.level))}{first[len(record.level) :]}"
        yield from (f"{head} {each}" for each in more)


def objects(line: Line) -> Iterator[str]:
    """Give the JSON objects for a line of a log: one, or two where output and a record share it."""
    if not line.title:
        return
    service, _, replica = line.title.partition("/")
    whose = {"time": line.stamp, "service": service, "replica": int(replica) if replica else None}
    plain, record = read(line.text)
    if plain or record is None:
        yield json.dumps(whose | {"kind": "output", "message": plain}, ensure_ascii=False)
    if record is not None:
        yield json.dumps(whose | _fields(record), ensure_ascii=False)


def _fields(record: Record) -> dict[str, Any]:
    fields = {"kind": "record", "message": record.message, "level": record.level, "logger": record.logger}
    return fields | {"trace": record.trace or None, "exception": record.exception or None}
