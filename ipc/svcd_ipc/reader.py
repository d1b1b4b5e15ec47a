"""What comes over a socket: where its bytes go, whom its events concern, and what to wait for when there are no more.

Exactly one task reads at a time. Usually it is a hand of the crew. On a channel that only makes calls, the hand steps
back once nothing is in flight, and the next caller that finds the place vacant reads its own answer: that saves a task
switch for each call of somebody who makes one call after the other.

Nothing here waits: whoever reads goes on as far as it can, is told what stands in the way, and waits for that in
`reading`.
"""

from __future__ import annotations

from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import trio

from svcd_ipc.bell import Bell
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.messages import Call
from svcd_ipc.outbox import HIGH_WATER
from svcd_ipc.receiving import Receiver

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from svcd_ipc.callee import Callee, Serving
    from svcd_ipc.connection import Connection
    from svcd_ipc.crew import Crew, Hand, Job
    from svcd_ipc.deputy import Deputy, Turn
    from svcd_ipc.messages import Event
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.pending import Pending

_CROWDED: Final = 64
"""Waits without giving way after messages that came together, as other tasks of this process have work then."""

_MOST_STALLED = 100_000
"""Calls answered busy to a peer that reads none of the answers, before the connection is ended. Tests set it, and so it
is not Final, whose value mypyc writes into the code."""


class Next(Enum):
    """What a hand that reads has to do, once there is nothing more that it can do without waiting."""

    LEAVE = auto()
    """Nothing: somebody else reads, or nobody."""
    RECEIVE = auto()
    """Wait for bytes."""
    PASS = auto()
    """Let the event loop turn once."""
    ROOM = auto()
    """Wait for room to answer."""


class Reader:
    """Moves bytes from a non-blocking socket into the connection, and its events to those they concern.

    `take` says who gets which event but calls, which go to the callee. `end` is told once why there is nothing more to
    read.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        connection: Connection,
        outbox: Outbox,
        callee: Callee,
        take: Mapping[type[Event], Callable[[Any], None]],
        end: Callable[[Exception], None],
        only_calls: bool,
    ) -> None:
        self.receiver = Receiver(sock, connection=connection, outbox=outbox, end=end)
        self.way = self.receiver.way
        self.fd = self.receiver.fd
        self._connection = connection
        self._outbox = outbox
        self._callee = callee
        self._take = take
        self.end = end
        """Tells why there is nothing more to read, once."""
        self._only_calls = only_calls
        self._crew: Crew | None = None
        self.read: Job
        """What a hand that reads does, and one that runs a call. Both are set by the channel."""
        self.serve: Callable[[Serving, Hand], Awaitable[None]]
        self.take_on: Callable[[Serving, Coroutine[Any, Any, Any], Hand], Awaitable[None]]
        """What a hand does that takes on a call which another thread has run."""
        self.deputy: Deputy | None = None
        """Who may read in the loop's place."""
        self.turn: Turn | None = None
        """While a thread does."""
        self.minder = Bell()
        """Rung when the place becomes vacant, so that it does not stay so for long."""
        self.is_minded = False
        """Whoever minds the place looks after it already."""
        self.turns = 0
        """How often somebody has left the place."""
        self._has_received = False
        """The hand that reads has waited for bytes, or the peer was let run."""
        self._stalled = 0
        self.has_ended = False
        """Set by the channel: there is nothing more to say."""
        self.is_vacant = False
        """Nobody reads."""
        self._has_stood_in = False
        """A thread has read in the loop's place since the loop's own has received anything."""
        self.is_crowded = False
        """Several messages came with the last read, so that whoever goes on now is not alone."""

    def start(self, crew: Crew) -> None:
        """Let a hand of the crew read from now on."""
        self._crew = crew
        self.receiver.start()
        self.is_vacant = True
        self.resume()

    def resume(self) -> None:
        """Make sure that somebody reads."""
        if self.is_vacant:
            self.is_vacant = False
            self._has_received = False
            self._give(self.read)

    def interrupt(self) -> None:
        """Wake whoever waits for bytes, to look at what has changed."""
        trio.lowlevel.notify_closing(self.fd)

    def go_on(self) -> Next | Serving:
        """Be the hand that reads until it has to wait; return for what: a call that it has begun, and has to finish."""
        outbox, connection = self._outbox, self._connection
        self._uncork()
        self._has_stood_in = False
        while True:
            waiting = self._take_all(self.turn is None)
            if waiting is not None:
                return self._left_with(waiting)
            if outbox.corked:
                self._uncork()
            if (todo := self._first_of_all()) is not None:
                return todo
            if not connection.has_more:
                if not (self._has_received and self._is_done()):
                    self._has_received = True
                    return Next.RECEIVE
                if self.deputy is not None and self._is_worth_a_turn(self.deputy):
                    waiting = self._stood_in()
                    if waiting is not None:
                        return self._left_with(waiting)
                elif not self.receiver.receive_next():
                    return Next.RECEIVE
                else:
                    self._has_stood_in = False

    def _left_with(self, waiting: Serving) -> Serving:
        """Let the next hand read while the one that reads now finishes a call.

        The call waits already, for whatever it waits, but the loop does not know that before this hand awaits what the
        call awaits. Until then it must not be woken. So answers that are corked go with the next hand: to send them may
        end the connection, or make room, and wake it.
        """
        self._has_received = False
        self._give(self.read)
        return waiting

    def _first_of_all(self) -> Next | None:
        """Return what has to be done before anything else is looked at."""
        if self.has_ended:
            return Next.LEAVE
        if self._has_received and self._only_calls and not self._connection.awaits_answers:
            self.step_back()
            return Next.LEAVE
        if self._must_hold_up():
            return Next.ROOM
        if self.way.is_loops_turn or (self.turn is not None and self.turn.is_loop_wanted()):
            return Next.PASS
        return None

    def _is_worth_a_turn(self, deputy: Deputy) -> bool:
        return not self._has_stood_in and self.turn is None and deputy.is_worth_it()

    def _stood_in(self) -> Serving | None:
        """Let a thread read until the loop is wanted; return a call that it runs still."""
        self._has_stood_in = True
        return None if self.deputy is None else self.deputy.stand_in()

    def _uncork(self) -> None:
        if self._outbox.corked:
            self._outbox.corked = False
            self._outbox.push()

    def go_on_for(self, pending: Pending) -> bool:
        """Read on until a call has its answer; False when bytes have to be waited for."""
        while not (pending.is_settled or self.has_ended):
            if not self.receiver.receive_next():
                return False
            self._take_all(False)
        return True

    def take_answers(self) -> None:
        """Deal with what a caller received who reads for itself; calls go to the crew."""
        self._take_all(False)

    def receive(self) -> None:
        """Receive what came, if anything."""
        if not self.has_ended:
            self.receiver.try_to_receive()

    def _is_done(self) -> bool:
        """Tell whether everything that came is answered, and nothing is left for other tasks of this channel."""
        return not (self._callee.running or self._outbox.size or self._connection.awaits_answers)

    def take_one(self) -> bool:
        """Deal with one event, before there are hands; False when more bytes are needed."""
        event = None
        try:
            event = self._connection.next_event()
            if event is not None:
                self._take[type(event)](event)
                return True
        except RemoteProtocolError as error:
            self.end(error)
        self._notice_end()
        return self.has_ended

    def drain(self) -> None:
        """Deal with what the kernel still holds, as nothing more can be written. Raises OSError at its end."""
        while not self.has_ended:
            self.receiver.receive()
            self._take_all(False)

    def _notice_end(self) -> None:
        if self.receiver.has_peer_ended and not self.has_ended:
            self.end(EOFError("it has ended the connection"))

    def _must_hold_up(self) -> bool:
        """Tell whether the peer has to read answers before more of its calls are looked at.

        Whoever awaits answers goes on reading all the same, so the two sides never hold up each other.
        """
        return self._outbox.is_high and not self._connection.awaits_answers

    def _take_all(self, starts_calls: bool) -> Serving | None:
        """Deal with what was received. Return the call that was started here and has to wait; the rest is left then.

        With `starts_calls` a call is started in place, unless the last one of its api had to wait.
        """
        connection, outbox = self._connection, self._outbox
        if outbox.size <= HIGH_WATER:
            self._stalled = 0
        self.is_crowded = False
        is_first = True
        try:
            while not self.has_ended and (event := connection.next_event()) is not None:
                has_more = connection.has_more
                if not is_first or (has_more and isinstance(event, Call)):  # What follows an answer may be no event.
                    self.way.skip = _CROWDED
                    self.is_crowded = True
                is_first = False
                if not isinstance(event, Call):
                    self._take[type(event)](event)
                elif (waiting := self._take_call(event, starts_calls, has_more)) is not None:
                    return waiting
                if not connection.has_more or (outbox.size > HIGH_WATER and self._must_hold_up()):
                    break
        except RemoteProtocolError as error:
            self.end(error)
        if self.receiver.has_peer_ended:
            self._notice_end()
        return None

    def _take_call(self, event: Call, starts_calls: bool, has_more: bool) -> Serving | None:
        if has_more and starts_calls:
            self._outbox.corked = True  # Answers to calls that came together: `go_on` pushes them.
        if self._outbox.size > HIGH_WATER:
            self._stall(event)
            return None
        callee = self._callee
        serving = callee.accept(event)
        if serving is None:
            return None
        if starts_calls and event.api not in callee.waiting_apis:
            return None if self._begin(serving) else serving
        if self.turn is None or has_more or not self.turn.serve(serving):
            self._give(partial(self.serve, serving))
        return None

    def give_on(self, serving: Serving, running: Coroutine[Any, Any, Any]) -> None:
        """Let a hand go on with a call that another thread has run."""
        self._give(partial(self.take_on, serving, running))

    def _begin(self, serving: Serving) -> bool:
        """Run a call in place until it has to wait, while nobody reads here; True when it is answered."""
        holders = self.receiver.loop.holders
        holders.append(self)
        try:
            return self._callee.begin(serving)
        finally:
            holders.pop()

    def _stall(self, event: Call) -> None:
        """Refuse a call of a peer that reads no answers, while this side cannot stop reading."""
        self._stalled += 1
        if self._stalled > _MOST_STALLED:
            self.end(RemoteProtocolError("the peer makes calls but reads no answers"))
        else:
            self._callee.refuse_busy(event)

    def step_back(self) -> None:
        """Leave the place: to a hand while other answers are awaited, else to the next caller."""
        self.is_vacant = True
        self.turns += 1
        if self._connection.awaits_answers:
            self.resume()
        elif not self.is_minded:
            self.is_minded = True
            self.minder.ring()

    def _give(self, job: Job) -> None:
        if self._crew is not None and not self.has_ended:
            self._crew.give(job)
