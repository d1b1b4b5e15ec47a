"""`SERVICE.API [JSON]` on a command line: the parts of the target, its body, and the replica that has it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.cli.common import EXIT_NO_SUCH_SERVICE, EXIT_TIMED_OUT, EXIT_USAGE, fail
from svcd_ipc.errors import DeadlineExceeded

if TYPE_CHECKING:
    from svcd.link.blocking import BlockingClient

START_LIMIT = 60.0
"""Seconds to wait for a service that starts, unless --timeout says how long to wait for all."""


def parts_of(target: str) -> tuple[str, str]:
    """Return service and api, or end the command."""
    service, _, api = target.rpartition(".")
    if not service:
        fail(f"{target!r} is not SERVICE.API, such as Classifier.classify", EXIT_USAGE)
    return service, api


def find(service: str, api: str, daemon: BlockingClient, timeout: float) -> dict[str, Any]:
    """Return the daemon's `where` of a service once it is ready, with `is_stream` of the api; or end the command."""
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


def body_of(text: str) -> bytes:
    """Return the body itself: the text, standard input for `-`, a file for `@FILE`; or end the command."""
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_bytes()
        except OSError as error:
            hint = "@FILE reads the body from a file, and - from standard input; an object stands in quotes: '{...}'"
            fail(f"{text[1:] or '@'}: {error.strerror}\n{hint}", EXIT_USAGE)
    return text.encode(errors="surrogateescape")  # the bytes of the command line, whatever the locale
