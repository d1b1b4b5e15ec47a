"""`svcd down`: stop the app."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from svcd.cli.common import (
    EXIT_TIMED_OUT,
    app_options,
    call_errors,
    connect,
    daemon_of,
    fail,
    own_places_of,
    sources_of,
    wait_ended,
    watched,
)
from svcd.cli.durations import Duration
from svcd.cli.table import age, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from svcd.link.blocking import BlockingClient
    from svcd.values.places import Places

_PATIENCE = 2.0
"""Seconds after which it says whom it waits for."""
_LOOK = 1.0
"""Seconds between looks at that."""


@click.command("down")
@app_options
@click.option(
    "--keep", is_flag=True, help="Stop the daemon alone; `svcd up` takes over what goes on, see orphan_grace."
)
@click.option("--timeout", type=Duration(), default="2m", show_default=True, help="How long to wait until all is gone.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], timeout: float, *, keep: bool) -> None:
    """Stop every service in order, callers first, and the daemon. An app that does not run is no error."""
    sources = sources_of(files, profile, sets)
    where = own_places_of(sources)
    deadline = time.monotonic() + timeout
    if keep:
        _leave(daemon_of(sources), where, deadline)
        return
    waited_for = ""
    pid = _holder(where)  # before it is asked: who holds the app and does not answer is on its way up or down
    client = connect(where)
    pid = client.pid if client else pid
    if pid is None:
        click.echo("its daemon was gone; ended the rest at once" if _end_orphan(where) else "not running")
        return
    with watched(where, pid) as daemon:
        if client is not None:
            with call_errors(), client:
                waited_for = _stop(client, deadline)
        elif daemon is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(daemon, signal.SIGTERM)
        if not wait_ended(daemon, deadline):
            whom = waited_for or _unknown(where)
            fail(f"still stopping after {timeout:g} s; {whom}", EXIT_TIMED_OUT)
    click.echo("stopped")


def _holder(where: Places) -> int | None:
    from svcd.host.sockets import daemon_pid  # noqa: PLC0415 - see common.connect

    return daemon_pid(where)


def _end_orphan(where: Places) -> bool:
    """End an app that goes on without its daemon; False when there is none."""
    from svcd.host.sockets import RuntimeDirectory, is_answering  # noqa: PLC0415 - see common.connect
    from svcd.host.takeover import end_orphan  # noqa: PLC0415 - as above

    if not is_answering(where.keeper):
        return False
    if not end_orphan(where.keeper):
        fail(f"what answers at {where.keeper} has not ended yet; try `svcd down` again", EXIT_TIMED_OUT)
    with RuntimeDirectory(where):  # it cleans up
        return True


def _leave(client: BlockingClient, where: Places, deadline: float) -> None:
    """End the daemon alone."""
    with watched(where, client.pid) as daemon, call_errors(), client:
        seconds = client.call("leave", {}, timeout=max(0.0, deadline - time.monotonic()))
        if not seconds:
            fail("the services of this app end with its daemon: [app] orphan_grace is not set; nothing was stopped")
        if not wait_ended(daemon, deadline):
            fail("the daemon does not end; `svcd logs daemon` shows what it does", EXIT_TIMED_OUT)
    click.echo(f"the daemon has ended; the services go on for {seconds:g} s, until `svcd up` takes them over")


def _stop(client: BlockingClient, deadline: float) -> str:
    """Order the stop and wait for its end, or the deadline; return whom it waited for last."""
    from svcd_ipc.errors import ReplicaLost  # noqa: PLC0415 - see common.connect

    try:
        client.call("down", {}, timeout=max(0.0, deadline - time.monotonic()))
    except ReplicaLost:
        return ""  # it is ending already
    told, patience = _Waited(""), _PATIENCE
    while not client.wait_closed(min(patience, max(0.0, deadline - time.monotonic()))):
        whom, patience = _waited_for(client), _LOOK
        if time.monotonic() >= deadline:
            return whom.text
        if whom.text and whom.for_what != told.for_what:
            click.echo(whom.text, err=True)
        told = whom
    return told.text


class _Waited(NamedTuple):
    """Whom a stop waits for."""

    text: str
    """For people; empty when it has ended meanwhile."""
    for_what: tuple[str, ...] = ()
    """The same without the time it takes, which changes with every look."""


def _waited_for(client: BlockingClient) -> _Waited:
    from svcd_ipc.errors import DeadlineExceeded, ReplicaLost  # noqa: PLC0415 - only for a stop that takes long

    try:
        rows = client.call("ps", {}, timeout=5)
    except ReplicaLost:
        return _Waited("")  # it has just ended
    except DeadlineExceeded:
        return _alike("the daemon does not answer")
    draining = [row for row in rows if row["state"] == "draining"]
    if not draining:
        return _alike("waiting for the daemon to end what is left")
    whom = [_described(row) for row in draining]
    return _Waited(f"waiting for {'; '.join(whom)}", tuple(", ".join([_name(row), *_facts(row)]) for row in draining))


def _alike(text: str) -> _Waited:
    return _Waited(text, (text,))


def _described(row: dict[str, Any]) -> str:
    facts = [f"draining for {age(row['since'])}", *_facts(row)]
    return f"{_name(row)} ({', '.join(facts)})"


def _name(row: dict[str, Any]) -> str:
    return f"{row['service']}/{row['replica']}"


def _facts(row: dict[str, Any]) -> list[str]:
    calls = row["in_flight"]
    facts = [f"{calls} call{'' if calls == 1 else 's'} in flight"] if calls else []
    return facts + ([one_line(row["reason"])] if row["reason"] and row["reason"] != "the app is stopping" else [])


def _unknown(where: Places) -> str:
    return f"the daemon does not answer at {where.control}: `svcd events` and `svcd logs daemon` show what it does"
