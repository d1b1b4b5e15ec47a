"""The callee's half of a channel: admits the peer's calls, starts them, and answers each exactly once.

Nothing here waits: what a call runs, and who waits for it, is in `answering`.
"""

from __future__ import annotations

import contextvars
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.buffers import may_be_large
from svcd_ipc.calls import IncomingCall, current
from svcd_ipc.errors import (
    BadResult,
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    RemoteError,
    ReplicaLost,
)
from svcd_ipc.taking import Input
from svcd_ipc.timing import Timing

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from svcd_ipc.alarm import Alarm
    from svcd_ipc.bell import Bell
    from svcd_ipc.calls import Blocking, Direct
    from svcd_ipc.connection import Connection
    from svcd_ipc.crew import Hand
    from svcd_ipc.direct import Continuing
    from svcd_ipc.messages import Call, Fed, Feed, Hello, Load
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.writer import Chunks

_NO_ARGS: Final[dict[str, Any]] = {}

STREAMED: Final = object()
"""What a call gives whose items are all sent."""


class Serving:
    """One call of the peer that is running."""

    __slots__ = (
        *("bell", "call", "context", "deadline", "ending", "hand", "has_begun", "id", "is_stream_wanted"),
        *("original", "running", "trap"),
    )

    context: contextvars.Context
    running: Coroutine[Any, Any, Any]
    trap: Any
    """What the running coroutine first asked of the loop."""

    def __init__(self, event: Call, call: IncomingCall) -> None:
        self.id = event.id
        self.call = call
        self.deadline = inf if call.deadline is None else call.deadline
        self.is_stream_wanted = event.window > 0
        self.bell: Bell | None = None
        """Rung when credit comes; streams have one."""
        self.hand: Hand | None = None
        self.has_begun = False
        """Whether the handler was called."""
        self.ending: CallError | None = None
        """Why it was cancelled."""
        self.original: Any = None
        """An array of which a copy is the answer. It is let go of once that is sent: to unmap 64 MB takes 0.4 ms."""

    def end(self, error: CallError) -> None:
        """Cancel the handler; `error` is the answer."""
        if self.ending is None:
            self.ending = error
            if self.hand is not None:
                self.hand.scope.cancel()


class Callee:
    """The calls of the peer that are running. `run` is what one of them does, up to its value (or STREAMED)."""

    def __init__(
        self,
        *,
        name: str,
        admit: Callable[[IncomingCall], bool] | None,
        release: Callable[[IncomingCall], None] | None,
        load: Callable[[], tuple[int, int]] | None,
        clock: Callable[[], float],
        connection: Connection,
        outbox: Outbox,
        alarm: Alarm,
        window: int,
        direct: Direct | None,
    ) -> None:
        self._name = name
        self._direct = direct
        self._window = window
        self._admit = admit
        self._release = release
        self._load = load or self._own_load
        self._clock = clock
        self._connection = connection
        self._outbox = outbox
        self._alarm = alarm
        self._context = contextvars.copy_context()
        self.waiting_apis: set[str] = set()
        """Apis whose last call had to wait: they get a hand of their own at once."""
        self._inputs: dict[int, list[Input]] = {}
        """Of running calls that have arguments which are streams."""
        self.running: dict[int, Serving] = {}
        self.is_draining = False
        self.run: Callable[[Serving], Coroutine[Any, Any, Any]]
        """Set by the channel, which makes it after this."""
        self.continuing: Continuing | None = None
        """As `run`, where calls may be begun directly."""
        self.peer: Hello | None = None

    def accept(self, event: Call) -> Serving | None:
        """Register a call that is to be run; None when it was answered without running."""
        assert self.peer is not None  # noqa: S101 - the connection lets no call through before hello
        call = IncomingCall(event.api, event.args, event.deadline, event.trace, event.attempt, self.peer, self._clock)
        event.args = _NO_ARGS  # The call alone holds them, and lets go of them before it is answered.
        if event.trace is not None:
            call.timing = Timing(self._clock())
        if event.fault is not None:
            self._refuse(event, InvalidArgument(f"{self._name}.{event.api}: args: {event.fault}"))
            return None
        if event.deadline is not None and event.deadline <= self._clock():
            self._refuse(event, DeadlineExceeded(f"{self._name}.{event.api}: the deadline passed on the way"))
            return None
        if self.is_draining or (self._admit is not None and not self._admit(call)):
            self.refuse_busy(event)
            return None
        serving = self.running[event.id] = Serving(event, call)
        if event.inputs:
            self._open_inputs(event, call)
        if serving.deadline < self._alarm.armed:
            self._alarm.by(serving.deadline)
        return serving

    def refuse_busy(self, event: Call) -> None:
        """Answer busy without asking anybody."""
        self._outbox.put(self._connection.send_busy(event.id, self._load()), join=True)

    def begin(self, serving: Serving) -> bool:
        """Run a call until it has to wait; True when it is answered already.

        Each call has a context of its own, so that hands share no context variables between their jobs.
        """
        serving.has_begun = True
        context = serving.context = self._context.copy()
        if self._direct is None:
            return context.run(self._step, serving, self.run(serving))
        return context.run(self._begin_directly, serving)

    def _begin_directly(self, serving: Serving) -> bool:
        """Begin a call without a coroutine of the channel around it, where it is one that can do without."""
        direct, call = self._direct, serving.call
        assert direct is not None  # noqa: S101 - begin has looked
        current.set(call)
        try:
            running = direct.begin(call)
        except BaseException as error:  # noqa: BLE001 - sorted out there; a StopIteration from here is no value
            self.fail(serving, direct.fail(call, error))
            return True
        return self._step(serving, self.run(serving)) if running is None else self._step_directly(serving, running)

    def _step_directly(self, serving: Serving, running: Coroutine[Any, Any, Any]) -> bool:
        direct, continuing, call = self._direct, self.continuing, serving.call
        assert direct is not None and continuing is not None  # noqa: PT018, S101 - as above
        try:
            trap = running.send(None)
        except StopIteration as stop:
            value = stop.value
        except BaseException as error:  # noqa: BLE001 - sorted out there, and raised again where it must be
            self.fail(serving, direct.fail(call, error))
            return True
        else:
            return self._step(serving, continuing.go_on(serving, running, trap))
        try:
            value = direct.succeed(call, value)
        except BaseException as error:  # noqa: BLE001 - as above
            self.fail(serving, error)
            return True
        if continuing.staging is not None and may_be_large(value):
            return self._step(serving, continuing.staged(serving, value))
        self.succeed(serving, value)
        return True

    def _step(self, serving: Serving, running: Coroutine[Any, Any, Any]) -> bool:
        """Run what runs a call until it has to wait; True when the call is answered."""
        serving.running = running
        try:
            serving.trap = running.send(None)
        except StopIteration as stop:
            self.succeed(serving, stop.value)
        except BaseException as error:  # noqa: BLE001 - sorted out there, and raised again where it must be
            self.fail(serving, error)
        else:
            return False
        return True

    def begin_blocking(self, serving: Serving) -> Blocking | None:
        """Return what a thread has to run for a call; None where there is nothing, or it has been answered."""
        direct = self._direct
        assert direct is not None  # noqa: S101 - nobody stands in where there are no such calls
        context = serving.context = self._context.copy()
        try:
            blocking = context.run(_blocking, direct, serving.call)
        except BaseException as error:  # noqa: BLE001 - as in `begin`
            serving.has_begun = True
            self.fail(serving, direct.fail(serving.call, error))
            return None
        serving.has_begun = blocking is not None
        return blocking

    def end_blocking(self, serving: Serving, blocking: Blocking) -> Coroutine[Any, Any, Any] | None:
        """Answer a call that has run; return what has to be awaited for the answer, if anything."""
        try:
            value = blocking.end()
        except BaseException as error:  # noqa: BLE001 - as above
            self.fail(serving, error)
            return None
        continuing = self.continuing
        if continuing is not None and continuing.staging is not None and may_be_large(value):
            return continuing.staged(serving, value)
        self.succeed(serving, value)
        return None

    def go_on_blocking(self, serving: Serving, blocking: Blocking) -> bool:
        """Wait in the loop for a call that a thread runs; True when it is answered already."""
        assert self.continuing is not None  # noqa: S101 - as above
        return self.go_on(serving, self.continuing.rest(serving, blocking))

    def go_on(self, serving: Serving, running: Coroutine[Any, Any, Any]) -> bool:
        """Run what is left of a call until it has to wait; True when it is answered."""
        return serving.context.run(self._step, serving, running)

    def never_begin(self, serving: Serving, ending: CallError) -> None:
        """Answer a call that was cancelled while it waited for its hand."""
        self._release_unbegun(serving)
        self._answer_error(serving, ending)

    def close(self) -> None:
        """Let go of the calls that no hand will begin: the connection has ended."""
        for serving in self.running.values():
            self._release_unbegun(serving)

    def _release_unbegun(self, serving: Serving) -> None:
        if not serving.has_begun:
            serving.has_begun = True  # once
            if self._release is not None:
                self._release(serving.call)

    def cancel(self, number: int) -> None:
        """End a call whose caller has let go."""
        if serving := self.running.get(number):
            serving.end(CallError("the caller cancelled the call"))

    def credit(self, number: int) -> None:
        """Let a stream go on."""
        serving = self.running.get(number)
        if serving is not None and serving.bell is not None:
            serving.bell.ring()

    def take_feed(self, event: Feed) -> None:
        """Hand an item to the argument that it belongs to."""
        self._inputs[event.id][event.input].push(event)

    def take_fed(self, event: Fed) -> None:
        """Complete an argument."""
        self._inputs[event.id][event.input].complete()

    def _open_inputs(self, event: Call, call: IncomingCall) -> None:
        """Put an iterator in the place of each argument that is a stream."""
        inputs = self._inputs[event.id] = []
        for index, name in enumerate(event.inputs):
            made = Input(f"{event.api}.{name}", window=self._window, want=partial(self._want, event.id, index))
            inputs.append(made)
            call.args[name] = made

    def _want(self, number: int, index: int, count: int) -> None:
        self._outbox.put(self._connection.send_want(number, index, count), join=True)

    def _close_inputs(self, number: int) -> None:
        for made in self._inputs.pop(number, ()):
            made.over()

    def expire(self, now: float) -> float:
        """End calls whose deadline has passed; return the earliest one left."""
        earliest = inf
        for serving in self.running.values():
            if serving.deadline > now:
                earliest = min(earliest, serving.deadline)
            elif serving.ending is None:
                serving.end(DeadlineExceeded(f"{self._name}.{serving.call.api}: the deadline passed while it ran"))
        return earliest

    def may_send_item(self, number: int) -> bool:
        """Tell whether the consumer of a stream has room for one more item."""
        return self._connection.may_send_item(number)

    def send_item(self, serving: Serving, item: Any) -> None:
        """Send an item of a stream. Raises BadResult for what cannot travel."""
        try:
            self._put(self._connection.send_item(serving.id, item))
        except EncodeError as error:
            raise self._bad_result(serving, error) from None

    def succeed(self, serving: Serving, value: Any) -> None:
        """Answer a call with its value, or end its stream."""
        if serving.ending is not None:
            self._answer_error(serving, serving.ending)
            return
        number = serving.id
        if self.running.pop(number, None) is None:
            return
        if self._inputs:
            self._close_inputs(number)
        serving.call.args = _NO_ARGS  # What they showed of the caller's memory is given back with the answer.
        try:
            if value is STREAMED:
                chunks = self._connection.send_end(number, self._load())
            else:
                timing = serving.call.timing
                told = None if timing is None else timing.told(self._clock())
                chunks = self._connection.send_result(number, value, self._load(), told)
        except EncodeError as error:
            chunks = self._connection.send_error(number, self._bad_result(serving, error), self._load())
        self._outbox.put(chunks, bool(self.running))

    def fail(self, serving: Serving, error: BaseException) -> None:
        """Answer a call with what it raised. Raises again what is not the call's: cancellation, KeyboardInterrupt."""
        cancelled, own = _split(error)
        if own is not None and not isinstance(own, Exception):
            raise error  # KeyboardInterrupt and its like end the process, not the call.
        if serving.ending is not None:
            self._answer_error(serving, serving.ending)
        elif own is not None:
            self._answer_error(serving, own if isinstance(own, CallError) else RemoteError.of(own))
        else:
            self._answer_error(serving, ReplicaLost(f"{self._name}.{serving.call.api}: stopped while the call ran"))
        try:
            if cancelled is not None:
                raise cancelled  # The hand's scope, or whatever ends the channel, waits for it.
        finally:
            del error, own, cancelled  # Else they and this frame, which their tracebacks hold, would keep each other.

    def _answer_error(self, serving: Serving, error: CallError) -> None:
        if self.running.pop(serving.id, None) is not None:
            self._close_inputs(serving.id)
            self._put(self._connection.send_error(serving.id, error, self._load()))

    def _refuse(self, event: Call, error: CallError) -> None:
        self._put(self._connection.send_error(event.id, error, self._load()))

    def _put(self, chunks: Chunks) -> None:
        """Write at once when no other call runs, else together with what the others have to say."""
        self._outbox.put(chunks, join=bool(self.running))

    def _own_load(self) -> Load:
        return len(self.running), 0

    def _bad_result(self, serving: Serving, error: EncodeError) -> BadResult:
        return BadResult(f"{self._name}.{serving.call.api} returned what cannot travel: {error}")


def _blocking(direct: Direct, call: IncomingCall) -> Blocking | None:
    current.set(call)
    return direct.block(call)


def _split(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return (what of it is cancellation, what is the handler's own), a group of one as its only member."""
    cancelled: BaseException | None
    own: BaseException | None
    if isinstance(error, BaseExceptionGroup):
        cancelled, own = error.split(trio.Cancelled)
    elif isinstance(error, trio.Cancelled):
        cancelled, own = error, None
    else:
        cancelled, own = None, error
    while isinstance(own, BaseExceptionGroup) and len(own.exceptions) == 1:
        own = own.exceptions[0]
    return cancelled, own
