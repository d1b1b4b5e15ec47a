"""Tasks that take turns reading a connection and running the calls that come over it.

Starting a trio task per call, with a cancel scope of its own, costs as much as the rest of the call. Here a few hands
are kept instead: each sits in a scope that is replaced only after it was cancelled, and takes one job after the other.
The one that reads starts a call itself, in place; only if the handler has to wait does another hand go on reading. So a
handler that answers without waiting costs no task switch at all.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.bell import Bell

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from contextvars import Context

    Job = Callable[["Hand"], Awaitable[None]]

_KEEP_IDLE: Final = 64
"""Hands that wait for the next job; more end with their job."""


class Hand:
    """One task of the crew."""

    __slots__ = ("bell", "job", "scope")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.bell = Bell()
        self.scope = trio.CancelScope()


class Crew:
    """The hands of one channel; they live in its nursery."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._idle: list[Hand] = []

    def give(self, job: Job) -> None:
        """Let a hand do `job` from the next pass of the loop on."""
        if self._idle:
            hand = self._idle.pop()
            hand.job = job
            hand.bell.ring()
        else:
            self._nursery.start_soon(self._work, Hand(job))

    async def _work(self, hand: Hand) -> None:
        while True:
            with trio.CancelScope() as hand.scope:
                await hand.job(hand)
                while not hand.scope.cancel_called and await self._rest(hand):
                    await hand.job(hand)
            if not hand.scope.cancel_called:
                return
            hand.job = _nothing

    async def _rest(self, hand: Hand) -> bool:
        """Wait for the next job; False when enough hands wait already."""
        if len(self._idle) >= _KEEP_IDLE:
            return False
        hand.job = _nothing  # It would keep the last call and its arguments alive, which may be views of shared memory.
        self._idle.append(hand)
        await hand.bell.wait()
        return True


async def _nothing(_hand: Hand) -> None:
    """Be the job of a hand whose scope was renewed."""


@types.coroutine
def go_on(coro: Coroutine[Any, Any, Any], context: Context, trap: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine in its own context to its end, after its first step has yielded `trap` to the loop."""
    try:
        while True:
            try:
                sent = yield trap
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the coroutine
                trap = context.run(coro.throw, error)
            else:
                trap = context.run(coro.send, sent)
    except StopIteration as stop:
        return stop.value
    finally:
        sent = None  # It may be the error that goes out now, whose traceback refers to this frame: see `Caller.call`.
