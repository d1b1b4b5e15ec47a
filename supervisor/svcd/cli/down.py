"""`svcd down`: stop the app."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import click

from svcd.cli.common import EXIT_TIMED_OUT, app_options, call_errors, connect, fail, places_of, sources_of, wait_ended
from svcd.host.sockets import daemon_pid

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.values.places import Places


@click.command("down")
@app_options
@click.option("--timeout", type=float, default=120, show_default=True, help="Seconds to wait until all is gone.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], timeout: float) -> None:
    """Stop every service in order, callers first, and the daemon. An app that does not run is no error."""
    where = places_of(sources_of(files, profile, sets))
    deadline = time.monotonic() + timeout
    client = connect(where)
    if client is not None:
        with call_errors(), client:
            client.call("down", {}, timeout=timeout)
            client.wait_closed(max(0.0, deadline - time.monotonic()))
    elif not _ask_by_signal(where):
        click.echo("not running")
        return
    if not wait_ended(where, deadline):
        fail(f"still stopping after {timeout:g} s; `svcd ps` shows what it waits for", EXIT_TIMED_OUT)
    click.echo("stopped")


def _ask_by_signal(where: Places) -> bool:
    """Stop a daemon that does not answer yet, since it still reads the graph, or no more; False when there is none."""
    pid = daemon_pid(where)
    if pid is None:
        return False
    with suppress(ProcessLookupError):
        daemon = os.pidfd_open(pid)
        try:
            if daemon_pid(where) == pid:  # it holds the lock still, so the descriptor is of no later process
                signal.pidfd_send_signal(daemon, signal.SIGTERM)
        finally:
            os.close(daemon)
    return True
