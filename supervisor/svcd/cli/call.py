"""`svcd call SERVICE.API [JSON]`: call one api from the shell."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_TIMED_OUT, app_options, call_errors, daemon_of, fail, sources_of
from svcd.cli.durations import Duration
from svcd.cli.target import START_LIMIT, body_of, find, parts_of
from svcd.link.blocking import BlockingClient
from svcd_ipc.errors import DeadlineExceeded, ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@click.command("call")
@click.argument("target", metavar="SERVICE.API")
@click.argument("body", metavar="[JSON]", default="{}")
@app_options
@click.option("--timeout", type=Duration(), help="How long to wait. [default: the service's own timeout]")
@click.option("--type", "content_type", default="application/json", show_default=True, help="What the body is.")
def command(
    target: str,
    body: str,
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    timeout: float | None,
    content_type: str,
) -> None:
    """Call an api of any service of the running app, straight at a replica. While it starts, the call waits.

    JSON is an object of keyword arguments; `-` reads the body from standard input, `@FILE` from a file.
    """
    service, api = parts_of(target)
    args = {"api": api, "body": body_of(body), "type": content_type, "accept": "*/*"}
    with call_errors():
        found = find(service, api, daemon_of(sources_of(files, profile, sets)), timeout or START_LIMIT)
        timeout = found["timeout"] if timeout is None else timeout
        client = BlockingClient(found["socket"], {"role": "cli", "secret": found["secret"]})
        with _named(found["service"], api, timeout), client as replica:
            if found["is_stream"]:
                _print_stream(replica.stream("svcd.http", args, timeout=timeout))
            else:
                kind, answer = replica.call("svcd.http", args, timeout=timeout)
                # Bytes for a file or a pipe stay what they are.
                is_text = kind.startswith(("text/", "application/json")) or sys.stdout.isatty()
                _write(answer, newline=is_text and not answer.endswith(b"\n"))


@contextmanager
def _named(service: str, api: str, timeout: float) -> Iterator[None]:
    """Say of which call it is that there is no answer, and what to do next."""
    try:
        yield
    except DeadlineExceeded:
        fail(f"{service}.{api}: no answer within {timeout:g} s; --timeout gives it more", EXIT_TIMED_OUT)
    except ReplicaLost:
        fail(f"{service}.{api}: the replica was lost while the call ran; `svcd logs {service}` has its last words")


def _print_stream(chunks: Any) -> None:
    next(chunks)  # the content type
    last = b"\n"
    for chunk in chunks:
        last = chunk or last
        _write(chunk, newline=False)
    if sys.stdout.isatty() and not last.endswith(b"\n"):
        _write(b"", newline=True)


def _write(data: bytes, *, newline: bool) -> None:
    sys.stdout.buffer.write(data + b"\n" if newline else data)
    sys.stdout.buffer.flush()
