"""Instants as users write them after `--since`, and as they are shown."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from svcd.host.logs import stamp

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")
_AGO = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def since_option(command: F) -> F:
    """Add `--since`, whose value is the stamp of an instant; stamps compare as text."""
    text = "From then on: an age (10m) or an instant (10:42, 2025-01-02), UTC unless said."
    return click.option("--since", "start", callback=_since, metavar="TIME", help=text)(command)


def _since(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    if found := _AGO.fullmatch(value):
        return stamp(time.time() - float(found[1]) * _SECONDS[found[2]])
    try:
        return stamp(_instant(value).timestamp())
    except ValueError:
        known = "an age such as 10m, or an instant such as 10:42 or 2025-01-02T10:42"
        raise click.BadParameter(f"{value!r} is not {known}") from None


def _instant(text: str) -> datetime:
    """Read an instant; a time of day is the last one of that time. Raises ValueError."""
    if re.fullmatch(r"\d\d:\d\d(:\d\d(\.\d+)?)?", text):
        now = datetime.now(UTC)
        today = datetime.fromisoformat(f"{now:%Y-%m-%d}T{text}").replace(tzinfo=UTC)
        return today if today <= now else today - timedelta(days=1)
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def shown(stamped: str) -> str:
    """The time of day of a stamp, in UTC; with the date when that is not today."""
    today = time.strftime("%Y-%m-%d", time.gmtime())
    return stamped[11:23] if stamped.startswith(today) else stamped[:23].replace("T", " ")
