"""How `svcd up` tells people what happens: a line for each step, the table, the URL.

A failure is shown whole once; when the next attempt ends in the same way, one line says so. A terminal or pipe that
takes no more is no reason to stop an app: what cannot be written is dropped.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.table import colour_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHOWN_BEFORE_READY = {"ready", "done", "failed", "backoff"}
_SHOWN_LATER = _SHOWN_BEFORE_READY | {"starting"}


class Progress:
    """Writes to the terminal; in the foreground it is the session's reporter."""

    def __init__(self) -> None:
        self._is_ready = False
        self._is_stopping = False
        self._told: dict[str, tuple[str, list[str]]] = {}
        """Reason and last lines, as `_own` leaves them, of the failure that was shown last, by replica."""

    def started(self, info: Mapping[str, Any]) -> None:
        """Say what is being started."""
        _say(f"svcd {info['svcd']}: {info['app']} in {info['root']}")

    def change(self, change: Mapping[str, Any]) -> None:
        """Write a line for a change that people want to see."""
        state, before, reason = change["state"], change["before"], change["reason"]
        shown = _SHOWN_LATER if self._is_ready else _SHOWN_BEFORE_READY
        if (state not in shown and not reason) or (state == before and not reason):
            return
        if self._is_stopping and state != before:  # that it goes on is no news; that it is held up is
            return
        name = f"{change['service']}/{change['replica']}"
        text = f"  {name:<20} {click.style(f'{state:<9}', fg=colour_of(state))}"
        if state == "ready":
            text += f" {change['after']:.2f} s"
        if state == "backoff":
            failed, most = change.get("attempts", (0, 0))
            attempt = f" (attempt {failed} of {most})" if failed else ""
            self._failure(name, text, reason, attempt, list(change["last_lines"]))
        else:
            _say(f"{text} {reason}".rstrip())

    def _failure(self, name: str, text: str, reason: str, attempt: str, lines: list[str]) -> None:
        same = reason, _own(lines)
        if self._told.get(name) == same:
            _say(f"{text} again: {reason}{attempt}")
            return
        self._told[name] = same
        _say("\n".join([f"{text} {reason}{attempt}", *(f"    | {line}" for line in lines)]))

    def ready(self, info: Mapping[str, Any], seconds: float) -> None:
        """Say where the app answers and what to do next."""
        self._is_ready = True
        routes = "  ".join(f"POST /{api['name']}" for api in info["apis"])
        _say(f"ready after {seconds:.2f} s: {click.style(info['url'], bold=True)}  {routes}")

    def stopping(self, reason: str) -> None:
        """Say that stopping has begun, and why."""
        self._is_stopping = True
        _say(f"stopping: {reason}")

    def note(self, text: str) -> None:
        """Write a line."""
        _say(text)


def _own(lines: Sequence[str]) -> list[str]:
    """Return what is the same in the next attempt that ends in this way.

    That is without addresses, and of a crash without the stacks of the threads that did not crash: where they happened
    to be is chance.
    """
    others = next((at for at, line in enumerate(lines) if line.startswith("Thread 0x")), len(lines))
    return [re.sub("0x[0-9a-f]+", "0x", line) for line in lines[:others]]


def _say(text: str) -> None:
    with suppress(OSError):
        click.echo(text, err=True)
