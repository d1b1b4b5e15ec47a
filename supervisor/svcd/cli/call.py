"""`svcd call SERVICE.API [JSON]`: call one api from the shell."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import (
    EXIT_NO_SUCH_SERVICE,
    EXIT_TIMED_OUT,
    EXIT_USAGE,
    app_options,
    call_errors,
    daemon_of,
    fail,
    sources_of,
)
from svcd.link.blocking import BlockingClient
from svcd_ipc.errors import DeadlineExceeded, ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Iterator

START_LIMIT = 60.0
"""Seconds to wait for a service that starts, unless --timeout says how long to wait for all."""


@click.command("call")
@click.argument("target", metavar="SERVICE.API")
@click.argument("body", metavar="[JSON]", default="{}")
@app_options
@click.option("--timeout", type=float, help="Seconds to wait for the answer. [default: the service's own timeout]")
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
    service, _, api = target.rpartition(".")
    if not service:
        fail(f"{target!r} is not SERVICE.API, such as Classifier.classify", EXIT_USAGE)
    args = {"api": api, "body": _body(body), "type": content_type, "accept": "*/*"}
    with call_errors():
        found = _find(service, api, daemon_of(sources_of(files, profile, sets)), timeout or START_LIMIT)
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


def _find(service: str, api: str, daemon: BlockingClient, timeout: float) -> dict[str, Any]:
    try:
        with daemon:
            found: dict[str, Any] = daemon.call("where", {"service": service}, timeout=timeout)
    except DeadlineExceeded:
        fail(f"{service} is not ready after {timeout:g} s; `svcd ps` shows what it waits for", EXIT_TIMED_OUT)
    if "unknown" in found:
        fail(f"no service {service}; this app has {', '.join(found['services'])}", EXIT_NO_SUCH_SERVICE)
    if found.get("is_command"):
        fail(f"{found['service']} is a command service, and has no apis: call it at its URL", EXIT_NO_SUCH_SERVICE)
    known = {entry["name"]: entry for entry in found["apis"]}
    if api not in known:
        fail(f"{found['service']} has no api {api}; it has {', '.join(known) or 'none'}", EXIT_NO_SUCH_SERVICE)
    return found | {"is_stream": known[api]["is_stream"]}


def _body(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            fail(f"{text[1:]}: {error.strerror}", EXIT_USAGE)
    return text.encode()


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
