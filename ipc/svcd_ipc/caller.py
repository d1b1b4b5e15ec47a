"""The caller's half of a channel: sends calls, gives each its answer, and lets go of those nobody waits for.

Nothing here waits: see `calling`.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.calls import current
from svcd_ipc.errors import (
    BadResult,
    Busy,
    CallError,
    DeadlineExceeded,
    EncodeError,
    ReplicaLost,
    ServiceUnavailable,
    from_wire,
)
from svcd_ipc.messages import End, Error, Hello, Item, Load, Pong, Refused, Result, Want
from svcd_ipc.pending import ENDED, Arrivals, Pending
from svcd_ipc.scopes import effective_deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd_ipc.alarm import Alarm
    from svcd_ipc.connection import Connection
    from svcd_ipc.feeding import Feeding
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.reader import Reader

WINDOW: Final = 64
"""Items of a stream that may be under way to their consumer."""


class Caller:
    """The calls of this side that are in flight."""

    def __init__(
        self, *, connection: Connection, outbox: Outbox, alarm: Alarm, clock: Callable[[], float], window: int
    ) -> None:
        self._connection = connection
        self._outbox = outbox
        self._alarm = alarm
        self._clock = clock
        self._window = window
        self._pings: dict[int, Pending] = {}
        self._last_ping = 0
        self.reader: Reader
        """Set by the channel, which makes it after this."""
        self._feedings: dict[int, Feeding] = {}
        """By call."""
        self._hops: dict[str, str] = {}
        """By api: what its calls are called among times."""
        self._end_reason: str | None = None
        self.pending: dict[int, Pending | Arrivals] = {}
        self.is_open = False
        """Whether calls may be sent: hands are shaken, and the connection has not ended."""
        self.peer: Hello | None = None
        self.peer_load: Load = (0, 0)

    def deadlines(self, deadline: float | None) -> tuple[float | None, float | None]:
        """Return (when to give up here, what to tell the callee).

        They differ where the deadline is that of a trio scope: there it is trio that ends the caller. The second is
        -inf in a scope that is cancelled.
        """
        serving = current.get()
        if serving is not None and serving.deadline is not None and (deadline is None or serving.deadline < deadline):
            deadline = serving.deadline
        scope = effective_deadline()
        if scope == inf:
            return deadline, deadline
        scope += self._clock() - trio.current_time()
        return deadline, scope if deadline is None else min(deadline, scope)

    def send(
        self,
        pending: Pending | Arrivals,
        args: Mapping[str, Any],
        deadline: float | None,
        trace: str | None,
        attempt: int,
        feeding: Feeding | None,
    ) -> None:
        """Make a call; `deadline` is what the callee is told.

        Raises ServiceUnavailable, DeadlineExceeded or EncodeError, and then nothing was said.
        """
        if not self.is_open:
            self._check_open(pending.api)
        if deadline is not None and deadline <= self._clock():
            raise DeadlineExceeded(f"{self.peer}.{pending.api}: the deadline had passed before the call was sent")
        if pending.deadline < self._alarm.armed:
            self._alarm.by(pending.deadline)
        # Arguments by position here and in what it calls: the interpreter is quicker with them.
        names = feeding.names if feeding is not None else ()
        window = self._window if isinstance(pending, Arrivals) else 0
        try:
            number, chunks = self._connection.send_call(pending.api, args, deadline, trace, attempt, window, names)
        except EncodeError as error:
            error.args = (f"{self.peer}.{pending.api}: {error}",)
            raise
        if feeding is not None:
            feeding.number = number
            self._feedings[number] = feeding
        pending.id = number
        pending.start = self._outbox.total
        self.pending[number] = pending
        self._outbox.put(chunks, len(self.pending) > 1 or self.reader.is_crowded, True)

    def send_ping(self) -> Pending:
        """Ask for a pong, and return what is settled by it."""
        self._check_open("ping")
        self._last_ping += 1
        pending = self._pings[self._last_ping] = Pending("ping", None)
        pending.id = self._last_ping
        self._outbox.put(self._connection.send_ping(pending.id), join=False)
        self.reader.resume()
        return pending

    def arrivals(self, api: str, deadline: float | None) -> Arrivals:
        """Return what takes the items of a call that is to be sent."""
        return Arrivals(api, deadline, self._window, self._give_credit)

    def let_go(self, pending: Pending | Arrivals) -> None:
        """Forget a call and cancel it at the callee, unless it is settled."""
        if self.pending.pop(pending.id, None) is not None:
            self._stop_feeding(pending.id)
            self._outbox.own()
            self._outbox.put(self._connection.send_cancel(pending.id), join=True)

    def fail(self, pending: Pending | Arrivals, error: BaseException) -> None:
        """End a call, unless it is settled, with an error that is this side's own."""
        if not pending.is_settled:
            self.let_go(pending)
            pending.settle(None, error)
            self.reader.interrupt()  # The one who waits may be reading.

    # What came

    def settle(self, event: Result | End | Error | Refused) -> None:
        """Give a call its answer."""
        self.peer_load = event.load
        pending = self.pending.pop(event.id)
        if self._feedings:
            self._stop_feeding(event.id)
        if isinstance(event, Result):
            if event.fault is None:
                if event.timing is not None and isinstance(pending, Pending):
                    pending.timing = event.timing
                pending.settle(event.value)
            else:
                pending.settle(None, BadResult(f"{self.peer}.{pending.api}: cannot be read here: {event.fault}"))
        elif isinstance(event, Error):
            pending.settle(None, from_wire(event.code, event.message, event.details))
        elif isinstance(event, Refused):
            pending.settle(None, Busy(f"{self.peer}.{pending.api}: busy, {event.load[0]} calls in flight", event.load))
        else:
            pending.settle(ENDED)

    def take_item(self, event: Item) -> None:
        """Hand an item to its stream."""
        pending = self.pending[event.id]
        if isinstance(pending, Arrivals):
            pending.push(event)

    def take_want(self, event: Want) -> None:
        """Feed an argument, or go on feeding it."""
        self._feedings[event.id].want(event.input)

    def take_pong(self, event: Pong) -> None:
        """Wake whoever sent the ping; nobody may wait for it any more."""
        if pending := self.forget_ping(event.token):
            pending.settle(None)

    def forget_ping(self, token: int) -> Pending | None:
        """Return the ping with this token, unless it is settled; nobody is told of its pong."""
        return self._pings.pop(token, None)

    def note_times(self, pending: Pending) -> None:
        """Add the times of a call that is settled to those of the call that made it."""
        serving = current.get()
        if serving is not None and serving.timing is not None and pending.timing is not None:
            name = self._hops.get(pending.api)
            if name is None:
                name = self._hops[pending.api] = f"{str(self.peer).partition('/')[0]}.{pending.api}"
            serving.timing.join(name, pending.timing)

    # The end

    def expire(self, now: float) -> float:
        """Give up calls whose deadline has passed; return the earliest one left."""
        earliest = inf
        has_expired = False
        for pending in list(self.pending.values()):
            if pending.deadline > now:
                earliest = min(earliest, pending.deadline)
                continue
            self.let_go(pending)
            pending.settle(None, DeadlineExceeded(f"{self.peer}.{pending.api}: no answer before the deadline"))
            has_expired = True
        if has_expired:
            self.reader.interrupt()  # One of them may be reading.
        return earliest

    def end(self, reason: str) -> None:
        """Fail all calls in flight, and those to come, as the connection has ended."""
        self._end_reason = reason
        self.is_open = False
        left = self._outbox.total - self._outbox.size
        for number in list(self._feedings):
            self._stop_feeding(number)
        for pending in [*self.pending.values(), *self._pings.values()]:
            pending.settle(None, self._loss(pending.api, reason, has_left=left > pending.start))
        self.pending.clear()
        self._pings.clear()

    def _loss(self, api: str, reason: str, *, has_left: bool) -> CallError:
        if has_left:
            return ReplicaLost(f"{self.peer}.{api}: lost while the call may have been running: {reason}")
        return ServiceUnavailable(f"{self.peer}.{api}: the call was not sent: {reason}")

    def _stop_feeding(self, number: int) -> None:
        if feeding := self._feedings.pop(number, None):
            feeding.stop()

    def _check_open(self, api: str) -> None:
        if self._end_reason is not None:
            raise ServiceUnavailable(f"{self.peer or 'nobody'}.{api}: the connection has ended: {self._end_reason}")
        if not self.is_open:
            raise ServiceUnavailable(f"{api}: the connection is not open yet")

    def _give_credit(self, number: int, count: int) -> None:
        if number in self.pending:
            self._outbox.put(self._connection.send_credit(number, count), join=False)
