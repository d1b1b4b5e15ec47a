"""Tables and figures for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_STATES = {
    **dict.fromkeys(("ready", "done", "success"), "green"),
    **dict.fromkeys(("backoff", "pending", "unready", "cancelled"), "yellow"),
    **dict.fromkeys(("starting", "in_progress"), "cyan"),
    **dict.fromkeys(("failed", "failure", "lost"), "red"),
}


def colour_of(state: str) -> str | None:
    """The terminal colour of a state."""
    return _STATES.get(state)


def render(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, columns as wide as they need be, the last one ragged."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def age(since: str) -> str:
    """How long ago an ISO instant was: `12s`, `3m`, `5h`, `2d`."""
    return span((datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds())


def span(seconds: float) -> str:
    """Seconds for people, rounded down: `12s`, `3m`, `5h`, `2d`."""
    seconds = max(0.0, seconds)
    for limit, unit, size in ((60, "s", 1), (3600, "m", 60), (86400, "h", 3600)):
        if seconds < limit:
            return f"{int(seconds / size)}{unit}"
    return f"{int(seconds / 86400)}d"


def size(count: int | None) -> str:
    """Bytes for people: `512Mi`; `-` when not known."""
    if count is None:
        return "-"
    for limit, unit, scale in ((2**30, "Mi", 2**20), (2**50, "Gi", 2**30)):
        if count < limit:
            return f"{count / scale:.0f}{unit}" if unit == "Mi" else f"{count / scale:.1f}{unit}"
    return f"{count}"


def one_line(text: str) -> str:
    """Return the first line of a text that says something."""
    return printable(next((line for line in text.splitlines() if line.strip()), "")).strip()


def printable(line: str) -> str:
    """Return a line without characters that would move the cursor or change its colour."""
    return "".join(letter if letter.isprintable() else " " for letter in line).rstrip()
