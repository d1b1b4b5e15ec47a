"""The way from any thread of a worker onto its loop.

A running function cannot be interrupted: when its caller goes away it is *abandoned*, and every blocking call that it
makes from then on raises `CallCancelled`.
"""

from __future__ import annotations

import contextvars
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

here = threading.local()
"""`job`, `portal` and `index` of the service thread that looks; `side` of the asyncio thread that does."""


class CallCancelled(BaseException):
    """The call that this thread works for has been cancelled. Let it pass, as one lets `asyncio.CancelledError`."""


class Abandonable(Protocol):
    """Who waits for calls on the loop, and may stop to."""

    abandoned: bool
    scopes: set[trio.CancelScope]


class Reply(Protocol):
    """Where the outcome of a call on the loop is put."""

    def put(self, result: outcome.Outcome[Any], /) -> None: ...


class Errand:
    """Something that a thread does for the loop while it waits for a call of its own; put it among the replies."""

    def __init__(self, function: Callable[[], Any], portal: Portal) -> None:
        self._function = function
        self._portal = portal
        self._result: outcome.Outcome[Any] | None = None
        self._done = trio.Event()

    def run(self) -> None:
        """Do it, in the thread."""
        self._result = outcome.capture(self._function)
        with suppress(trio.RunFinishedError):
            self._portal.token.run_sync_soon(self._done.set)

    async def result(self) -> Any:
        """Wait on the loop until it is done, and return what came of it."""
        await self._done.wait()
        result, self._result = self._result, None
        assert result is not None  # noqa: S101  (it is set before the event)
        try:
            return result.unwrap()
        finally:
            del result  # as in Portal.run


class Portal:
    """The way from any other thread onto the loop: runs an async function there while the thread waits."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.token = trio.lowlevel.current_trio_token()
        self._loop_thread = threading.get_ident()
        self.nursery = nursery

    @staticmethod
    def current() -> Portal | None:
        """Return the portal of the service thread that asks, or None on any other thread."""
        return getattr(here, "portal", None)

    @property
    def on_loop(self) -> bool:
        """Whether the caller runs on the loop's own thread, or in its place (`svcd_ipc.deputy`): nothing may block."""
        if threading.get_ident() == self._loop_thread:
            return True
        return trio.lowlevel.in_trio_run() and trio.lowlevel.current_trio_token() is self.token

    def run(self, function: Callable[..., Awaitable[T]], *args: Any, replies: SimpleQueue[Any] | None = None) -> T:
        """Run `await function(*args)` on the loop and return its result here.

        It sees this thread's context variables, and so inherits deadline and trace of the call that the thread works
        for; when that call is cancelled, it is cancelled too and this raises CallCancelled. Errands that are put into
        `replies` meanwhile are run by this thread.
        """
        job: Abandonable | None = getattr(here, "job", None)
        reply: SimpleQueue[Any] = SimpleQueue() if replies is None else replies
        try:
            self.token.run_sync_soon(self._begin, contextvars.copy_context(), job, reply, function, args)
        except trio.RunFinishedError:
            raise CallCancelled("the service has stopped") from None
        while isinstance(said := reply.get(), Errand):
            said.run()
        try:
            return said.unwrap()  # type: ignore[no-any-return]  # the function's own result
        finally:
            del said  # An error keeps this frame, and is not to be kept by it: docs/internals.md, shared memory.

    def post(self, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run `await function(*args)` on the loop without waiting for it; its errors go unheard."""
        unheard: Reply = SimpleQueue()
        with suppress(trio.RunFinishedError):
            self.token.run_sync_soon(self._begin, contextvars.copy_context(), None, unheard, function, args)

    def submit(self, job: Abandonable, reply: Reply, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        """Run `await function(*args)` on the loop for someone who waits otherwise than a thread; see `run`."""
        try:
            self.token.run_sync_soon(self._begin, contextvars.copy_context(), job, reply, function, args)
        except trio.RunFinishedError:
            reply.put(outcome.Error(CallCancelled("the service has stopped")))

    def _begin(self, context: contextvars.Context, job: Abandonable | None, reply: Reply, *rest: Any) -> None:
        if job is not None and job.abandoned:
            reply.put(outcome.Error(CallCancelled("the call was cancelled")))
            return
        try:
            context.run(self.nursery.start_soon, self._run, job, reply, *rest)
        except RuntimeError:  # the nursery is closed
            reply.put(outcome.Error(CallCancelled("the service has stopped")))

    async def _run(
        self, job: Abandonable | None, reply: Reply, function: Callable[..., Awaitable[Any]], args: tuple[Any, ...]
    ) -> None:
        with trio.CancelScope() as scope:
            if job is not None:
                job.scopes.add(scope)
            try:
                result: outcome.Outcome[Any] = outcome.Value(await function(*args))
            except trio.Cancelled:
                reply.put(outcome.Error(CallCancelled("the call was cancelled")))
                raise
            except BaseException as error:  # noqa: BLE001  (it belongs to the thread that waits)
                result = outcome.Error(error)
            finally:
                if job is not None:
                    job.scopes.discard(scope)
            reply.put(result)
            del result  # as in `run`
