"""What goes wrong, as HTTP sees it: one table from error codes to statuses, one shape for every error body.

    {"error": {"code": "invalid", "message": "...", "details": [{"field": "text", "message": "..."}]}}

`details` comes with code `invalid`, `apis` with unknown paths, and `id` with every 5xx that a log line explains.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any

from svcd_ipc.errors import CallError, InvalidArgument

STATUSES = {
    "invalid": 400,
    "overloaded": 429,
    "busy": 429,
    "lost": 502,
    "unavailable": 503,
    "deadline": 504,
}
"""Status of each error code that a call may end with; every other is a failure inside the app, 500."""

RETRY_AFTER = {"overloaded": 1, "busy": 1, "unavailable": 2}
"""Seconds after which a client may try again. Not for `lost`: the call may have run, and only the client knows whether
running it twice is safe."""

_INTERNAL = "the service failed while it answered; its log has the traceback under this id (svcd logs ingress)"


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that says why there is no result."""

    status: int
    code: str
    message: str
    extra: dict[str, Any] = field(default_factory=dict)
    """More members of the error object."""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    def body(self) -> bytes:
        """Return the JSON text that the client gets."""
        error = {"code": self.code, "message": self.message, **self.extra}
        text = json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":"), default=str)
        return text.encode() + b"\n"


class RefusedError(Exception):
    """The request is refused before the entry sees it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def refuse(status: int, code: str, message: str, *, allow: str = "", **extra: Any) -> RefusedError:
    """Return the exception that ends a request with this status."""
    headers = ((b"allow", allow.encode()),) if allow else ()
    return RefusedError(Problem(status, code, message, extra, headers))


def problem_of(error: BaseException) -> Problem:
    """Return what a client is told about an error. Nothing of a traceback, nor of a user's exception, is in it."""
    if isinstance(error, RefusedError):
        return error.problem
    code = error.code if isinstance(error, CallError) else "internal"
    status = STATUSES.get(code, 500)
    if status == 500:
        message = str(error) if code == "bad_result" else _INTERNAL
        return Problem(500, code, message, {"id": secrets.token_hex(6)})
    extra = {"details": error.details} if isinstance(error, InvalidArgument) else {}
    headers = ((b"retry-after", b"%d" % RETRY_AFTER[code]),) if code in RETRY_AFTER else ()
    return Problem(status, code, str(error), extra, headers)
