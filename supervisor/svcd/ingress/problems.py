"""What goes wrong, as HTTP sees it: one table from error codes to statuses, one shape for every error body.

    {"error": {"code": "invalid", "message": "...", "details": [{"field": "text", "message": "..."}]}}

`details` comes with code `invalid`, `apis` with unknown paths, and `id` with every 5xx that a log line explains.
"""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from svcd.tasks.errors import StoreUnusable
from svcd_ipc.errors import CallError, InvalidArgument

STATUSES = {
    "invalid": 400,
    "overloaded": 429,
    "busy": 429,
    "lost": 502,
    "unavailable": 503,
    "deadline": 504,
    "no_task": 404,
    "not_done": 409,
    "cancelled": 409,
    "task_exists": 409,
    "queue_full": 429,
    "storage": 503,
}
"""Status of each error code that a call may end with; every other is a failure inside the app, 500."""

PROBLEMS = {
    400: "The arguments or the body are not what the api takes; `details` names each bad field.",
    404: "There is no such path; `apis` are those that there are.",
    405: "The path has other methods.",
    406: "The api has no answer in a form that the client accepts; `offers` are those that it has.",
    408: "The client was too slow in sending its request.",
    409: "The task is not in a state for that.",
    413: "The body is larger than `limit` bytes.",
    415: "The body is compressed, its charset is not known, or its content type says form and it is none.",
    429: "Every replica is busy and the waiting room is full. The call was not run.",
    431: "The request's line and headers are too long.",
    500: "The service raised; `id` finds the traceback in the log.",
    502: "The replica died while the call may have been running.",
    503: "No replica can serve, or too many connections are open. The call was not run.",
    504: "The time was up; what was running has been cancelled.",
    507: "There is no space for the task. It was not accepted.",
}
"""What each status means, for `/docs.json`."""

RETRY_AFTER = {"overloaded": 1, "busy": 1, "unavailable": 2, "not_done": 1, "queue_full": 5, "storage": 5}
"""Seconds after which a client may try again. Not for `lost`: the call may have run, and only the client knows whether
running it twice is safe."""

_RESERVED = re.compile(r"\.svcd\.(http|asgi|check)\b")
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


def long_head() -> Problem:
    """Return what is said of a request whose line and headers are too long."""
    message = "the request line and headers are longer than this app takes ([app] max_header)"
    return Problem(431, "header_too_large", message)


def as_bytes(problem: Problem) -> bytes:
    """Return a whole HTTP/1.1 response that ends its connection, for where there is no request to answer yet."""
    body = problem.body()
    lines = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}".encode(),
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"connection: close",
        *(name + b": " + value for name, value in problem.headers),
    ]
    return b"\r\n".join((*lines, b"", body))


def refuse(status: int, code: str, message: str, *, allow: str = "", **extra: Any) -> RefusedError:
    """Return the exception that ends a request with this status."""
    headers = ((b"allow", allow.encode()),) if allow else ()
    return RefusedError(Problem(status, code, message, extra, headers))


def problem_of(error: BaseException, path: str = "") -> Problem:
    """Return what a client is told about an error. Nothing of a traceback, nor of a user's exception, is in it.

    `path` is what the request named; messages have it in the place of the reserved api that stood for it.
    """
    if isinstance(error, RefusedError):
        return error.problem
    code = error.code if isinstance(error, CallError) else "internal"
    status = STATUSES.get(code, 500)
    if isinstance(error, StoreUnusable) and error.is_full:
        status = 507
    told = _RESERVED.sub(f".{path.lstrip('/')}", str(error))
    if status == 500:
        message = told if code == "bad_result" else _INTERNAL
        return Problem(500, code, message, {"id": secrets.token_hex(6)})
    extra = {"details": error.details} if isinstance(error, InvalidArgument) else {}
    headers = ((b"retry-after", b"%d" % RETRY_AFTER[code]),) if code in RETRY_AFTER else ()
    return Problem(status, code, told, extra, headers)
