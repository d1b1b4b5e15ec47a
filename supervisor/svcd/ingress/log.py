"""What the ingress writes to its log, which is its standard error. No access log: it would be on the hot path."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

from svcd_ipc.errors import RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.ingress.problems import Problem

QUIET = 1.0
"""Seconds between two lines about the same kind of refusal; under overload there are thousands."""


class Log:
    """Writes one line per failure, and the remote traceback where there is one, each line of it under the same id."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._last: dict[str, float] = {}
        self._held_back: dict[str, int] = {}

    def line(self, text: str) -> None:
        """Write one line (or several) in one piece."""
        self._out.write(text + "\n")
        self._out.flush()

    def problem(self, request: str, problem: Problem, error: BaseException) -> None:
        """Log an answer that is the app's fault, not the client's; the others pass in silence."""
        if problem.status == 429 or problem.status > 500:
            self._refusal(request, problem)
        elif problem.status == 500:
            self._failure(request, problem, error)

    def broken_stream(self, request: str, problem: Problem, error: BaseException) -> None:
        """Log a stream that failed after it had begun: its status has long been sent."""
        self._failure(f"{request} (stream)", problem, error)

    def _refusal(self, request: str, problem: Problem) -> None:
        now, code = self._clock(), problem.code
        if now - self._last.get(code, -QUIET) < QUIET:
            self._held_back[code] = self._held_back.get(code, 0) + 1
            return
        self._last[code] = now
        more = self._held_back.pop(code, 0)
        since = f" (and {more} more since the last such line)" if more else ""
        self.line(f"{problem.status} {code}: {request}: {problem.message}{since}")

    def _failure(self, request: str, problem: Problem, error: BaseException) -> None:
        mark = f"error {problem.extra['id']}: " if "id" in problem.extra else ""
        lines = [f"{mark}{problem.status} {problem.code}: {request}: {_summary(error)}"]
        lines += [mark + line for line in _traceback(error).splitlines()]
        self.line("\n".join(lines))


def _summary(error: BaseException) -> str:
    if isinstance(error, RemoteError):
        return f"{error.type_name}: {error.message}"
    return f"{type(error).__name__}: {error}"


def _traceback(error: BaseException) -> str:
    """Return the traceback worth keeping: the remote one, or ours where the error was not a call's."""
    if isinstance(error, RemoteError):
        return error.remote_traceback
    if getattr(error, "code", None):
        return ""
    import traceback  # noqa: PLC0415 - only a bug of ours comes here

    return "".join(traceback.format_exception(error))
