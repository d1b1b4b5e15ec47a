"""A call as its handler sees it, and the one that the running code is part of."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from svcd_ipc.messages import Hello
    from svcd_ipc.timing import Timing


@dataclass(slots=True)
class IncomingCall:
    """A call of the peer that is about to run."""

    api: str
    args: dict[str, Any]
    deadline: float | None
    """CLOCK_MONOTONIC instant in seconds at which the caller gives up; None means never."""
    trace: str | None
    """The caller's trace context, a W3C traceparent."""
    attempt: int
    """How often the caller has sent this call before."""
    peer: Hello
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)
    timing: Timing | None = field(default=None, repr=False, compare=False)
    """Where its time goes; kept for calls that carry a trace."""

    def remaining(self) -> float:
        """Return the seconds left until the deadline: negative once it has passed, infinite when there is none."""
        return inf if self.deadline is None else self.deadline - self.clock()


Handler = Callable[[IncomingCall], Awaitable[Any]]
"""Answers a call: returns the value, or an async iterator whose items are then streamed."""


class Blocking(Protocol):
    """A call on its way through a thread."""

    def run(self) -> None:
        """Run it in the thread, in a context of its own, and keep what comes of it."""

    def hand_over(self) -> None:
        """Tell the loop, from the thread, that it has run."""

    def end(self) -> Any:
        """Return what is answered, or raise it, once it has run. For the loop, or who does the loop's work."""

    def rest(self) -> Coroutine[Any, Any, Any]:
        """Await this in the loop, as `end`, for what is handed over."""


class Threads(Protocol):
    """Those that run calls which block."""

    def is_worth_it(self) -> bool:
        """Whether the last calls were so short that a thread might have waited for them, and one is free."""

    def lend(self, work: Callable[[], None]) -> None:
        """Have a free thread do this."""


class Direct(Protocol):
    """Answers calls that are one coroutine, the result of which is the answer: nothing has to be awaited around it.

    Asked before the handler, and in the handler's place. Its methods run in the context of the call.
    """

    @property
    def threads(self) -> Threads | None:
        """Who runs calls that block; None where there are none."""

    def block(self, call: IncomingCall) -> Blocking | None:
        """Return a call that blocks, None for one of another sort. What it raises goes through `fail`."""

    def begin(self, call: IncomingCall) -> Coroutine[Any, Any, Any] | None:
        """Return what runs a call, None for one that is the handler's. What it raises goes through `fail`."""

    def succeed(self, call: IncomingCall, value: Any) -> Any:
        """Take the result of a call, and return what is answered, or raise it."""

    def fail(self, call: IncomingCall, error: BaseException) -> BaseException:
        """Take what a call raised, and return what is answered."""


current: ContextVar[IncomingCall | None] = ContextVar("svcd_ipc_current_call", default=None)


def current_call() -> IncomingCall | None:
    """Return the call that the running code serves, or None outside of any."""
    return current.get()


@contextmanager
def call_context(call: IncomingCall | None) -> Iterator[None]:
    """Make `call` the current one within the block: for threads, and for calls that stay in the process."""
    token = current.set(call)
    try:
        yield
    finally:
        current.reset(token)
