"""What `svcd logs` and `svcd events` have alike: whose past is wanted, from when on, how much, and whether to go on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, app_options_without_f, fail, sources_of
from svcd.cli.instants import since_option

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from svcd.config import Sources

POLL = 0.1
"""Seconds between looks at the files when following."""
LINES = 100
"""How many, unless said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the options say."""

    sources: Sources
    services: tuple[str, ...]
    """As given, `SERVICE` or `SERVICE/N`; empty means all."""
    start: str | None
    """The stamp from which on, as svcd.cli.instants has them; None means the last ones."""
    lines: int | None
    """How many; None is all from `start` on, LINES without that."""
    follow: bool
    as_json: bool


def history_options(of_each: str, one: str) -> Callable[[Callable[[Wanted], None]], Callable[..., None]]:
    """Give a command these options, as one `Wanted`.

    Args:
        of_each: What `-n` counts for, as in "the last so many of each log".
        one: What is printed, such as "line".
    """

    def decorate(function: Callable[[Wanted], None]) -> Callable[..., None]:
        @wraps(function)
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
            _refuse_files(services)
            sources = sources_of(files, profile, sets)
            function(
                Wanted(sources=sources, services=services, start=start, lines=lines, follow=follow, as_json=as_json)
            )

        options = (
            click.argument("services", nargs=-1, metavar="[SERVICE[/N]]..."),
            app_options_without_f,
            click.option("-f", "--follow", is_flag=True, help=f"Go on as {one}s come, until interrupted."),
            click.option(
                *("-n", "--lines"),
                type=click.IntRange(0),
                help=f"The last so many{of_each}. [default: {LINES}, or all with --since]",
            ),
            since_option,
            click.option(
                "--json", "as_json", is_flag=True, help=f"Print each {one} as an object on a line of its own."
            ),
        )
        decorated: Callable[..., None] = command
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _refuse_files(services: tuple[str, ...]) -> None:
    """End a command that took the app's file for a service: here -f follows."""
    for name in services:
        if name.endswith(".toml"):
            fail(f"{name} is no service; -f follows here, `--file {name}` names the app's file", EXIT_NO_SUCH_SERVICE)
