"""Open and closed loops of calls.

An open loop makes its calls at the instants of a plan, however slow the answers come, and counts each latency from the
instant that the plan had: the waiting that a slow callee causes to those behind is measured and not left out
("coordinated omission", https://www.youtube.com/watch?v=lJ8ydIuPFeU). A closed loop makes the next call once the one
before is answered: it shows how much can be done, and hides how long somebody would have waited.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import trio

from svcd.measure.figures import Tally
from svcd_ipc.errors import CallError, EncodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.measure.figures import Load

    Call = Callable[[], Awaitable[int]]
    """Makes one call; returns how many items came, 0 unless it is a stream."""

_LOOK = 0.1
"""Seconds that the thread which keeps the time sleeps at most, so that it ends soon when the loop does."""


class Loop:
    """One run of a load.

    Args:
        load: What is asked for.
        call: Makes one call.
        clock: Seconds; CLOCK_MONOTONIC.
    """

    def __init__(self, load: Load, call: Call, clock: Callable[[], float]) -> None:
        self._load = load
        self._call = call
        self._clock = clock
        self._scope = trio.CancelScope()
        self._start = clock()
        self._counted_from = self._start + load.warm_up
        self._end = self._counted_from + load.seconds
        self._is_over = False
        self.tally = Tally()

    def __repr__(self) -> str:
        return f"<Loop {self._load} [{len(self.tally.latencies)} answered]>"

    def stop(self) -> None:
        """End it early; calls in flight are cancelled and not counted."""
        self._scope.cancel()

    def finish(self) -> None:
        """Make no more calls, from any thread; those in flight are waited for and counted."""
        self._end = self._clock()

    async def run(self) -> float:
        """Make the calls and wait for their answers; return the seconds that were counted."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    if self._load.rate is not None:
                        await self._open(nursery, self._load.rate)
                    else:
                        for _ in range(self._load.in_flight):
                            nursery.start_soon(self._closed)
        finally:
            self._is_over = True
        return max(0.0, min(self._clock(), self._end) - self._counted_from)

    async def _open(self, nursery: trio.Nursery, rate: float) -> None:
        token = trio.lowlevel.current_trio_token()

        def begin(due: float) -> None:
            if self._is_over or self._scope.cancel_called:
                return
            if due >= self._counted_from:
                self.tally.behind = max(self.tally.behind, self._clock() - due)
            nursery.start_soon(self._one, due)

        def keep_time() -> None:
            number = 0
            while not self._is_over and (due := self._start + number / rate) < self._end:
                ahead = due - self._clock()
                if ahead > 0:
                    time.sleep(min(ahead, _LOOK))
                else:
                    token.run_sync_soon(begin, due)
                    number += 1

        # A thread, because epoll, with which trio sleeps, knows whole milliseconds only.
        await trio.to_thread.run_sync(keep_time, abandon_on_cancel=True)

    async def _closed(self) -> None:
        while (now := self._clock()) < self._end:
            await self._one(now)

    async def _one(self, due: float) -> None:
        try:
            items = await self._call()
        except (CallError, EncodeError) as error:
            if due >= self._counted_from:
                self.tally.failed(error)
        else:
            if due >= self._counted_from:
                self.tally.latencies.append(self._clock() - due)
                self.tally.items += items
