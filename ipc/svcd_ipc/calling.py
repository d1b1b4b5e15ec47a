"""Those who wait for an answer of the peer: what a task does from its call to the answer. `caller` has the state."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.errors import DeadlineExceeded
from svcd_ipc.feeding import Feeding
from svcd_ipc.pending import Pending, fail
from svcd_ipc.scopes import effective_deadline
from svcd_ipc.staging import may_be_large
from svcd_ipc.streaming import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from svcd_ipc.caller import Caller
    from svcd_ipc.connection import Connection
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.pending import Arrivals
    from svcd_ipc.reading import Reading
    from svcd_ipc.staging import Staging

_SKEW: Final = 0.05
"""Seconds within which a deadline seen by the callee counts as that of the caller's own scope."""


class Calling:
    """Makes calls and waits for them. A task whose connection nobody reads reads it itself."""

    def __init__(
        self, caller: Caller, reading: Reading, *, connection: Connection, outbox: Outbox, clock: Callable[[], float]
    ) -> None:
        self._caller = caller
        self._reading = reading
        self._reader = reading.reader
        self._connection = connection
        self._outbox = outbox
        self._clock = clock
        self.nursery: trio.Nursery
        """Set by the channel when it runs; iterators that feed arguments run there."""
        self.staging: Staging | None = None
        """Set by the channel where arrays are lent."""

    async def call(
        self,
        api: str,
        args: Mapping[str, Any],
        deadline: float | None,
        trace: str | None,
        attempt: int,
        inputs: Mapping[str, AsyncIterator[Any]] | None = None,
    ) -> Any:
        """See `Channel.call`."""
        caller = self._caller
        give_up, told = caller.deadlines(deadline)
        if told == -inf:
            await trio.lowlevel.checkpoint()  # Cancelled already: nothing is sent.
        if self.staging is not None and may_be_large(args):
            args = await self.staging.prepared(args, inf if give_up is None else give_up - self._clock())
        pending = Pending(api, give_up)
        feeding = self._feeding(pending, inputs) if inputs else None
        try:
            caller.send(pending, args, told, trace, attempt, feeding)
            if self._reader.is_vacant:
                await self._reading.read_until_settled(pending)
            elif not pending.is_settled:
                await pending.wait()
        except (trio.Cancelled, KeyboardInterrupt):
            caller.let_go(pending)
            raise
        except DeadlineExceeded:  # It had passed before anything was sent.
            await self._await_own_timeout(told != give_up)
            raise
        finally:
            if feeding is not None:
                await feeding.close()
        if pending.error is not None:
            await self._await_own_timeout(told != give_up and isinstance(pending.error, DeadlineExceeded))
            fail(pending)
        if pending.timing is not None:
            caller.note_times(pending)
        return pending.value

    def stream(
        self,
        api: str,
        args: Mapping[str, Any],
        deadline: float | None,
        trace: str | None,
        attempt: int,
        inputs: Mapping[str, AsyncIterator[Any]] | None = None,
    ) -> Stream:
        """See `Channel.stream`."""
        give_up, told = self._caller.deadlines(deadline)
        arrivals = self._caller.arrivals(api, give_up)
        feeding = self._feeding(arrivals, inputs) if inputs else None

        def send() -> None:
            self._caller.send(arrivals, args, told, trace, attempt, feeding)
            self._reader.resume()

        return Stream(arrivals, send=send, let_go=self._caller.let_go)

    async def ping(self) -> float:
        """See `Channel.ping`."""
        await trio.lowlevel.checkpoint_if_cancelled()
        start = self._clock()
        pending = self._caller.send_ping()
        try:
            if not pending.is_settled:
                await pending.wait()
        finally:
            self._caller.forget_ping(pending.id)
        if pending.error is not None:
            fail(pending)
        return self._clock() - start

    def _feeding(self, pending: Pending | Arrivals, inputs: Mapping[str, AsyncIterator[Any]]) -> Feeding:
        def fail(error: BaseException) -> None:
            self._caller.fail(pending, error)

        return Feeding(inputs, nursery=self.nursery, connection=self._connection, outbox=self._outbox, fail=fail)

    async def _await_own_timeout(self, is_own: bool) -> None:
        """Let the caller's own scope end it where somebody else was only the first to see that its time is up."""
        if not is_own:
            return
        left = effective_deadline() - trio.current_time()
        if left < _SKEW:
            await trio.sleep(max(0.0, left))
