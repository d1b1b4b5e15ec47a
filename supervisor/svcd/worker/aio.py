"""An asyncio loop for the `async def` code of one service, with `async_backend = "asyncio"`.

It has a thread of its own beside trio's. trio as a guest of asyncio would save the hand-over, but makes a thread wait
for every event of every connection, cannot live inside the trio program that `svcd.local` may be part of, and lets code
that blocks asyncio's loop stop the replica's answers to the daemon too. bench/asyncio_hop.py has the numbers.

Law: a trio task that waits for asyncio hands its cancellation over, and goes on once the asyncio task has really ended;
an asyncio task that is cancelled while it waits for trio goes on at once, and its call is cancelled.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import outcome
import trio

from svcd.worker.portal import here

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from svcd.worker.portal import Portal

STOPPING = 2.0
"""Seconds for tasks that the service left running to end once they are cancelled."""


class AsyncioSide:
    """The loop, and the ways from trio to it and back.

    Args:
        name: Of the service, for the thread's name.
        portal: The way onto trio's loop.
    """

    def __init__(self, name: str, portal: Portal) -> None:
        self.portal = portal
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._work, name=f"{name}-asyncio", daemon=True)
        self._ended = trio.Event()
        self._is_stopping = False

    def __repr__(self) -> str:
        return f"<AsyncioSide {self._thread.name} [{'running' if self.is_alive else 'ended'}]>"

    @property
    def is_here(self) -> bool:
        """Whether the code that asks runs on this loop."""
        return getattr(here, "side", None) is self

    @property
    def is_alive(self) -> bool:
        """Whether its thread still runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Run the loop in its thread."""
        self._thread.start()

    async def stop(self) -> None:
        """Cancel what the service left running, and return when the loop is closed, or will not be."""
        self._is_stopping = True
        with suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.loop.stop)
        with trio.move_on_after(STOPPING, shield=True):
            await self._ended.wait()

    async def run(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """From trio: run an async function in an asyncio task of its own, in this context, and return its result."""
        return await Crossing(self).wait(function)

    async def ask(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """From asyncio: run `await function(*args)` on trio's loop, in this context, and return its result."""
        question = Question(self)
        self.portal.submit(question, question, function, *args)
        try:
            return await question.answer
        except asyncio.CancelledError:
            question.withdraw()
            raise

    async def gather(self, calls: Iterable[Awaitable[Any]]) -> list[Any]:
        """From asyncio: await all at once. Raises the first error after cancelling the rest."""
        tasks = [asyncio.ensure_future(call) for call in calls]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def soon(self, function: Callable[..., object], *args: Any) -> bool:
        """Call something on the loop's thread; False when the loop has ended."""
        try:
            self.loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            return False
        return True

    def _work(self) -> None:
        here.side = self
        asyncio.set_event_loop(self.loop)
        try:
            while not self._is_stopping:
                self._run_forever()
            _cancel_all(self.loop)
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
        finally:
            self.loop.close()
            with suppress(trio.RunFinishedError):
                self.portal.token.run_sync_soon(self._ended.set)

    def _run_forever(self) -> None:
        try:
            self.loop.run_forever()
        except (SystemExit, KeyboardInterrupt) as error:
            # Of a task that the service had left running: it may fail, but not end the replica.
            traceback.print_exception(error)


class Crossing:
    """A trio task that waits for an asyncio task."""

    def __init__(self, side: AsyncioSide) -> None:
        self._side = side
        self._waiting: trio.lowlevel.Task | None = None
        self._raise_cancel: Callable[[], Any] | None = None
        self._task: asyncio.Task[outcome.Outcome[Any]] | None = None

    async def wait(self, function: Callable[[], Awaitable[Any]]) -> Any:
        """Run `function` in an asyncio task, and return or raise what it does."""
        self._waiting = trio.lowlevel.current_task()
        if not self._side.soon(self._begin, contextvars.copy_context(), function):
            raise RuntimeError("the service's asyncio loop has ended")
        return await trio.lowlevel.wait_task_rescheduled(self._abort)

    # On asyncio.

    def _begin(self, context: contextvars.Context, function: Callable[[], Awaitable[Any]]) -> None:
        # What the function raises is captured within: SystemExit would end the loop.
        self._task = self._side.loop.create_task(outcome.acapture(function), context=context)
        self._task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[outcome.Outcome[Any]]) -> None:
        # One that was cancelled before it began has captured nothing.
        result = outcome.Error(asyncio.CancelledError()) if task.cancelled() else task.result()
        with suppress(trio.RunFinishedError):
            self._side.portal.token.run_sync_soon(self._arrive, result)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # On trio.

    def _abort(self, raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
        self._raise_cancel = raise_cancel
        self._side.soon(self._cancel)
        return trio.lowlevel.Abort.FAILED  # it goes on when the asyncio task has ended

    def _arrive(self, result: outcome.Outcome[Any]) -> None:
        if isinstance(result, outcome.Error) and isinstance(result.error, asyncio.CancelledError):
            if self._raise_cancel is not None:
                result = outcome.capture(self._raise_cancel)
            else:
                result = outcome.Error(RuntimeError("the asyncio task was cancelled by the service's own code"))
        assert self._waiting is not None  # noqa: S101  (only what was begun delivers)
        trio.lowlevel.reschedule(self._waiting, result)


class Question:
    """A call from asyncio on its way through trio; stands for both the waiting thread and its replies (see Portal)."""

    def __init__(self, side: AsyncioSide) -> None:
        self._side = side
        self.answer: asyncio.Future[Any] = side.loop.create_future()
        self.abandoned = False
        self.scopes: set[trio.CancelScope] = set()

    def put(self, result: outcome.Outcome[Any]) -> None:
        """Give the answer; from trio."""
        self._side.soon(self._settle, result)

    def withdraw(self) -> None:
        """Cancel the call; from asyncio."""
        with suppress(trio.RunFinishedError):
            self._side.portal.token.run_sync_soon(self._abandon)

    def _settle(self, result: outcome.Outcome[Any]) -> None:
        if self.answer.done():
            return
        if isinstance(result, outcome.Error):
            self.answer.set_exception(result.error)
        else:
            self.answer.set_result(result.unwrap())

    def _abandon(self) -> None:
        self.abandoned = True
        for scope in self.scopes:
            scope.cancel()


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what still runs on a loop that was stopped, and let it end, as asyncio.run does."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
