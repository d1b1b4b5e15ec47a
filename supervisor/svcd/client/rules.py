"""What both clients do alike: options, errors of the connection as errors of a call, and when a call is sent again.

A call that was not delivered is sent again: one that found no connection, whose body was not taken whole, or that was
answered 503. One that may have run never is; what is asked of tasks always is, because it does nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from svcd.client import wire
from svcd_ipc.errors import CallError, DeadlineExceeded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.client.address import Address
    from svcd.client.http11 import Head, Request

CONNECTIONS = 100
"""Calls of one client that are under way at once; others wait."""
FIRST_PAUSE = 0.1
"""Seconds before a call that found no connection is sent again; twice as long each further time."""


@dataclass(frozen=True, slots=True)
class Options:
    """Of one client."""

    address: Address
    timeout: float
    retries: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def all_headers(self) -> dict[str, str]:
        """Return the headers of each request."""
        return {**{name.lower(): value for name, value in self.headers.items()}, **wire.HEADERS}

    def timed_out(self, api: str) -> DeadlineExceeded:
        """Return the error of a call whose time is up."""
        return DeadlineExceeded(f"{api}: no answer within {self.timeout:g} s; the call is cancelled")

    def not_connected(self, api: str, error: Exception) -> ServiceUnavailable:
        """Return the error of a call that found nobody."""
        reason = getattr(error, "strerror", None) or error
        return ServiceUnavailable(f"{api}: cannot connect to {self.address}: {reason}")

    def lost(self, api: str, error: Exception) -> ReplicaLost:
        """Return the error of a call whose connection ended after it was sent."""
        return ReplicaLost(f"{api}: the connection ended while the call may have been running: {error}")


@dataclass(frozen=True, slots=True)
class Refused:
    """The outcome of a call that was not delivered."""

    error: CallError
    retry_after: str | None = None
    """What the answer's header of that name said."""

    def pause(self, request: Request, options: Options, attempt: int, left: float) -> float:
        """Return after how many seconds to send the call again; raises its error when it is not to be.

        attempt: how often it was sent again before. left: seconds until its deadline.
        """
        told = self.retry_after is not None and self.retry_after.isdigit()
        pause = float(self.retry_after or 0) if told else FIRST_PAUSE * 2.0**attempt
        if attempt >= options.retries or pause >= left or not request.can_be_repeated:
            raise self.error
        return pause


def outcome(request: Request, head: Head, body: bytes) -> Any:
    """Return the result that a whole answer holds, or Refused. Raises CallError."""
    if head.status in (200, 202):
        decode = wire.decode_any if request.is_safe else wire.decode
        return decode(request.name, head.content_type, body)
    error = wire.error_of(request.name, head.status, body)
    if isinstance(error, ServiceUnavailable):
        return Refused(error, head.headers.get("retry-after"))
    try:
        raise error
    finally:
        del error  # It keeps this frame, and is not to be kept by it.
