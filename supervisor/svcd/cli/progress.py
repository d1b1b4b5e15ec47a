"""How `svcd up` tells people what happens: a line for each step, the table, the URL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from svcd.cli.table import colour_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN_BEFORE_READY = {"ready", "failed", "backoff", "pending"}
_SHOWN_LATER = _SHOWN_BEFORE_READY | {"starting"}


class Progress:
    """Writes to the terminal; in the foreground it is the session's reporter."""

    def __init__(self) -> None:
        self._is_ready = False
        self._is_stopping = False

    def started(self, info: Mapping[str, Any]) -> None:
        """Say what is being started."""
        click.echo(f"svcd {info['svcd']}: {info['app']} in {info['root']}", err=True)

    def change(self, change: Mapping[str, Any]) -> None:
        """Write a line for a change that people want to see."""
        state, before, reason = change["state"], change["before"], change["reason"]
        shown = _SHOWN_LATER if self._is_ready else _SHOWN_BEFORE_READY
        if self._is_stopping or (state not in shown and not reason) or (state == before and not reason):
            return
        name = f"{change['service']}/{change['replica']}"
        text = f"  {name:<20} {click.style(f'{state:<9}', fg=colour_of(state))}"
        if state == "ready":
            text += f" {change['after']:.2f} s"
        click.echo(f"{text} {reason}".rstrip(), err=True)
        for line in change["last_lines"] if state == "backoff" else ():
            click.echo(f"    | {line}", err=True)

    def ready(self, info: Mapping[str, Any], seconds: float) -> None:
        """Say where the app answers and what to do next."""
        self._is_ready = True
        routes = "  ".join(f"POST /{api['name']}" for api in info["apis"])
        click.echo(f"ready after {seconds:.2f} s: {click.style(info['url'], bold=True)}  {routes}", err=True)

    def stopping(self, reason: str) -> None:
        """Say that stopping has begun, and why."""
        self._is_stopping = True
        click.echo(f"stopping: {reason}", err=True)
