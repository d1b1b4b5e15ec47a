"""`svcd down`: stop the app."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_TIMED_OUT, app_options, call_errors, connect, fail, places_of, sources_of, wait_ended
from svcd.host.sockets import daemon_pid

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.link.blocking import BlockingClient
    from svcd.values.places import Places


@click.command("down")
@app_options
@click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait until all is gone.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], timeout: float) -> None:
    """Stop every service in order, callers first, and the daemon. An app that does not run is no error."""
    where = places_of(sources_of(files, profile, sets))
    deadline = time.monotonic() + timeout
    client = connect(where)
    if client is None:
        if daemon_pid(where) is None:
            click.echo("not running")
            return
        client = _wait_for_socket(where, deadline)
    if client is not None:
        with call_errors(), client:
            client.call("down", {}, timeout=timeout)
            client.wait_closed(max(0.0, deadline - time.monotonic()))
    if not wait_ended(where, deadline):
        fail(f"still stopping after {timeout:g} s; `svcd ps` shows what it waits for", EXIT_TIMED_OUT)
    click.echo("stopped")


def _wait_for_socket(where: Places, deadline: float) -> BlockingClient | None:
    """The daemon lives but does not serve yet (or no more)."""
    while daemon_pid(where) is not None and time.monotonic() < deadline:
        if (client := connect(where)) is not None:
            return client
        time.sleep(0.01)
    return None
