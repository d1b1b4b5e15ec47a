"""`svcd call SERVICE.API [JSON]`: call one api from the shell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, EXIT_USAGE, app_options, call_errors, daemon_of, fail, sources_of
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from pathlib import Path


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
    """Call an api of any service of the running app, straight at a replica.

    JSON is an object of keyword arguments; `-` reads the body from standard input, `@FILE` from a file.
    """
    service, _, api = target.rpartition(".")
    if not service:
        fail(f"{target!r} is not SERVICE.API, such as Classifier.classify", EXIT_USAGE)
    with call_errors():
        found = _find(service, api, daemon_of(sources_of(files, profile, sets)))
        args = {"api": api, "body": _body(body), "type": content_type, "accept": "*/*"}
        with BlockingClient(found["socket"], {"role": "cli", "secret": found["secret"]}) as replica:
            timeout = found["timeout"] if timeout is None else timeout
            if found["is_stream"]:
                _print_stream(replica.stream("svcd.http", args, timeout=timeout))
            else:
                _, answer = replica.call("svcd.http", args, timeout=timeout)
                _write(answer, newline=sys.stdout.isatty() or not answer.endswith(b"\n"))


def _find(service: str, api: str, daemon: BlockingClient) -> dict[str, Any]:
    with daemon:
        found: dict[str, Any] = daemon.call("where", {"service": service}, timeout=10)
    if "unknown" in found:
        fail(f"no service {service}; this app has {', '.join(found['services'])}", EXIT_NO_SUCH_SERVICE)
    known = {entry["name"]: entry for entry in found["apis"]}
    if api not in known:
        fail(f"{found['service']} has no api {api}; it has {', '.join(known) or 'none'}", EXIT_NO_SUCH_SERVICE)
    return found | {"is_stream": known[api]["is_stream"]}


def _body(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        with click.open_file(text[1:], "rb") as file:
            content: bytes = file.read()
            return content
    return text.encode()


def _print_stream(chunks: Any) -> None:
    next(chunks)  # the content type
    for chunk in chunks:
        _write(chunk, newline=False)


def _write(data: bytes, *, newline: bool) -> None:
    sys.stdout.buffer.write(data + b"\n" if newline else data)
    sys.stdout.buffer.flush()
