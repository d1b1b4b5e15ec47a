"""Calls in both directions over one socket, under trio.

A `Channel` is symmetric: either side may call the other. `run` says hello and then moves bytes until the connection
ends; what the peer does wrong ends this connection, never the program. Every call gets an answer: when the connection
ends, the calls in flight raise `ReplicaLost`, or `ServiceUnavailable` when nothing of them had left.
"""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc import frames
from svcd_ipc.alarm import Alarm
from svcd_ipc.answering import Answering
from svcd_ipc.callee import Callee
from svcd_ipc.caller import WINDOW, Caller
from svcd_ipc.calling import Calling
from svcd_ipc.calls import Handler, IncomingCall, call_context, current_call
from svcd_ipc.connection import Connection
from svcd_ipc.crew import Crew
from svcd_ipc.deputy import Deputy
from svcd_ipc.direct import Continuing
from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError
from svcd_ipc.handover import Handover
from svcd_ipc.messages import (
    Arena,
    Cancel,
    Credit,
    Drain,
    End,
    Error,
    Event,
    Fed,
    Feed,
    Hello,
    Item,
    Ping,
    Pong,
    Refused,
    Result,
    Taken,
    Want,
)
from svcd_ipc.outbox import Outbox
from svcd_ipc.reader import Reader
from svcd_ipc.reading import Reading
from svcd_ipc.streaming import Stream
from svcd_ipc.writing import write

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from svcd_ipc.calls import Direct
    from svcd_ipc.memory import Memory
    from svcd_ipc.messages import Load

__all__ = ["Channel", "Handler", "Hello", "IncomingCall", "Limits", "Stream", "call_context", "current_call"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one connection may take."""

    frame: int = frames.DEFAULT_LIMIT
    """Bytes of the largest frame."""
    window: int = WINDOW
    """Items of a stream that may be under way to their consumer on this side."""
    hello: float = 10.0
    """Seconds for the peer's first message."""


_LIMITS = Limits()


class Channel:
    """One connection. Construct it, then `await nursery.start(channel.run)`; see `client.connect` and `server.serve`.

    `load` gives (in flight, queued), put on every answer. `welcome` may raise to refuse the peer; the text is sent to
    it. `admit` returns False to answer a call with busy; `release` is told of a call that was admitted, but ends
    (cancelled, its connection lost) before the handler was called. `direct` is asked before the handler. The side that
    accepted the connection does not speak first, so that a refusal comes in place of its hello. `memory` is lent to
    peers of the same user that share theirs.
    """

    def __init__(
        self,
        sock: socket.socket | trio.SocketStream | trio.socket.SocketType,
        *,
        identity: Mapping[str, Any],
        handler: Handler | None = None,
        admit: Callable[[IncomingCall], bool] | None = None,
        release: Callable[[IncomingCall], None] | None = None,
        direct: Direct | None = None,
        load: Callable[[], Load] | None = None,
        welcome: Callable[[Hello], None] | None = None,
        limits: Limits = _LIMITS,
        clock: Callable[[], float] = time.monotonic,
        speaks_first: bool = True,
        memory: Memory | None = None,
    ) -> None:
        self.draining = False
        """The peer takes no new calls."""
        self.has_ended = False
        """No call can be made any more; `closed` is set later, once the connection's tasks are through."""
        self.closed = trio.Event()
        self.close_reason: Exception | None = None
        """Why the connection ended; None while it is open and when this side closed it."""
        self._sock = _raw(sock)
        self._identity = dict(identity)
        self._welcome = welcome
        self._limits = limits
        self._speaks_first = speaks_first
        self._nursery: trio.Nursery | None = None
        self._connection = Connection(limit=limits.frame)
        self._outbox = Outbox(self._sock, self._lost)
        self._handover = Handover(self._sock, memory, self._connection, self._outbox)
        self._alarm = Alarm(clock, self._expire)
        self._caller = Caller(
            connection=self._connection, outbox=self._outbox, alarm=self._alarm, clock=clock, window=limits.window
        )
        name = str(Hello(0, self._identity))
        self._callee = Callee(
            name=name,
            admit=admit,
            release=release,
            load=load,
            clock=clock,
            connection=self._connection,
            outbox=self._outbox,
            alarm=self._alarm,
            window=limits.window,
            direct=direct,
        )
        self._dispatch: dict[type[Event], Callable[[Any], None]] = {
            **dict.fromkeys((Result, End, Refused), self._caller.settle),
            Error: self._take_error,
            Item: self._caller.take_item,
            Pong: self._caller.take_pong,
            Credit: lambda event: self._callee.credit(event.id),
            Cancel: lambda event: self._callee.cancel(event.id),
            Ping: lambda event: self._outbox.put(self._connection.send_pong(event.token), join=False),
            Drain: self._take_drain,
            Hello: self._take_hello,
            Feed: self._callee.take_feed,
            Fed: self._callee.take_fed,
            Want: self._caller.take_want,
            Arena: self._handover.take_arena,
            Taken: self._handover.take_taken,
        }
        self._reader = Reader(
            self._sock,
            connection=self._connection,
            outbox=self._outbox,
            callee=self._callee,
            take=self._dispatch,
            end=self._end,
            only_calls=handler is None,
        )
        self._answering = Answering(self._callee, self._outbox, name=name, handler=handler)
        self._reading = Reading(self._reader, outbox=self._outbox, answering=self._answering)
        self._calling = Calling(
            self._caller, self._reading, connection=self._connection, outbox=self._outbox, clock=clock
        )
        self._caller.reader = self._reader
        self._callee.run = self._answering.run
        self._callee.continuing = self._continuing = None if direct is None else Continuing(direct)
        self._reader.read = self._reading.read
        self._reader.serve = self._answering.serve
        self._reader.take_on = self._answering.take_on
        self._threads = None if direct is None else direct.threads

    def __repr__(self) -> str:
        state = "closed" if self.closed.is_set() else "open" if self.peer else "new"
        return f"<Channel to {self.peer or 'nobody'} [{state}, {self.in_flight} in flight, {self.serving} serving]>"

    @property
    def peer(self) -> Hello | None:
        """What the peer said of itself; None until both sides have said hello."""
        return self._caller.peer

    @property
    def peer_load(self) -> Load:
        """(in flight, queued) at the peer, as its last answer said."""
        return self._caller.peer_load

    @property
    def in_flight(self) -> int:
        """Calls of this side that wait for their answer."""
        return len(self._caller.pending)

    @property
    def serving(self) -> int:
        """Calls of the peer that are running."""
        return len(self._callee.running)

    def call(
        self,
        api: str,
        args: Mapping[str, Any],
        *,
        deadline: float | None = None,
        trace: str | None = None,
        attempt: int = 0,
        inputs: Mapping[str, AsyncIterator[Any]] | None = None,
    ) -> Coroutine[Any, Any, Any]:
        """Await this to call the peer's api and get its value.

        The effective deadline (an instant of the channel's clock) is the earliest of the one given, that of the call
        being served, and those of the surrounding trio scopes. Raises CallError, or EncodeError for arguments that
        cannot travel.

        `inputs` are arguments that are streams. Their items are taken one by one as the callee takes them, from a task
        that has this one's context, and none before the callee has begun; what an iterator raises ends the call and is
        raised here.
        """
        return self._calling.call(api, args, deadline, trace, attempt, inputs)

    def stream(
        self,
        api: str,
        args: Mapping[str, Any],
        *,
        deadline: float | None = None,
        trace: str | None = None,
        attempt: int = 0,
        inputs: Mapping[str, AsyncIterator[Any]] | None = None,
    ) -> Stream:
        """Return the items of an api that streams; for the deadline and `inputs` see `call`."""
        return self._calling.stream(api, args, deadline, trace, attempt, inputs)

    async def open(
        self,
        api: str,
        args: Mapping[str, Any],
        *,
        deadline: float | None = None,
        trace: str | None = None,
        attempt: int = 0,
    ) -> Any:
        """Call an api of either sort: return its value, or a Stream once its first item (or its end) has come."""
        stream = self._calling.stream(api, args, deadline, trace, attempt)
        is_value, value = await stream.first()
        return value if is_value else stream

    async def ping(self) -> float:
        """Return the seconds until the peer's loop answered. Raises ReplicaLost when the connection ends first."""
        return await self._calling.ping()

    def send_drain(self) -> None:
        """Ask the peer for no new calls; those that come all the same are answered busy."""
        self._callee.is_draining = True
        self._outbox.put(self._connection.send_drain(), join=False)

    def close(self) -> None:
        """End the connection now. Calls in flight fail, in both directions."""
        self._outbox.push()
        self._end(None)

    async def run(self, *, task_status: trio.TaskStatus[Channel] = trio.TASK_STATUS_IGNORED) -> None:
        """Say hello, then serve the connection until it ends; `close_reason` says why it did.

        Started once both sides have said hello, or once the connection has ended before that (see `closed`). Never
        raises for what the peer did.
        """
        is_started = False
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = self._calling.nursery = nursery
                if self.has_ended:
                    return
                nursery.start_soon(write, self._outbox, self._sock)
                if await self._shake_hands():
                    nursery.start_soon(self._alarm.run)
                    nursery.start_soon(self._reading.mind)
                    nursery.start_soon(self._handover.give_back)
                    self._reader.start(Crew(nursery))
                    if self._threads is not None and self._reader.receiver.loop.epoll >= 0:
                        self._reader.deputy = Deputy(self._reader, self._callee, self._threads)
                    is_started = True
                    task_status.started(self)
        finally:
            self._end(None)
            self._handover.end()
            self._callee.close()
            self._reader.receiver.close()
            self._sock.close()
            self.closed.set()
            if not is_started:  # also when the peer said hello and was gone in the same moment
                task_status.started(self)

    async def _shake_hands(self) -> bool:
        """Exchange hellos, and arenas where memory is shared; False when the connection ended instead."""
        self._reader.receiver.recv = self._handover.receive
        if self._speaks_first:
            self._say_hello()
        with trio.move_on_after(self._limits.hello) as scope:
            while not (self._caller.is_open or self.has_ended):
                if not self._reader.take_one():
                    await self._reading.receive()
                if self.peer is not None and self._handover.is_done and not self.has_ended:
                    self._caller.is_open = True
                    self._calling.staging = self._answering.staging = self._handover.staging
                    if self._continuing is not None:
                        self._continuing.staging = self._handover.staging
        self._reader.receiver.recv = self._sock.recv
        self._handover.close()
        if scope.cancelled_caught:
            self._end(
                RemoteProtocolError(
                    f"no {'arena' if self.peer else 'hello'} from the peer within {self._limits.hello:g} s"
                )
            )
        return not self.has_ended

    # What came

    def _take_hello(self, peer: Hello) -> None:
        if self._welcome is not None:
            try:
                self._welcome(peer)
            except Exception as error:  # noqa: BLE001 - raising is how a peer is refused, with whatever error
                self._end(RemoteProtocolError(f"{peer} is refused: {error}"))
                return
        self._callee.peer = peer
        self._caller.peer = peer
        if not self._speaks_first:
            self._say_hello()
        self._handover.begin()

    def _say_hello(self) -> None:
        self._outbox.put(self._connection.send_hello(self._identity, self._handover.capabilities), join=False)

    def _take_error(self, event: Error) -> None:
        if event.id:
            self._caller.settle(event)
        else:
            self._end(LocalProtocolError(f"{self.peer or 'the peer'} ended the connection: {event.message}"))

    def _take_drain(self, _event: Drain) -> None:
        self.draining = True

    def _expire(self, now: float) -> float:
        return min(self._caller.expire(now), self._callee.expire(now))

    # The end

    def _lost(self, error: OSError) -> None:
        """End the connection because it takes no more bytes; the peer may have said why before."""
        with suppress(OSError):
            self._reader.drain()
        self._end(error)

    def _end(self, reason: Exception | None) -> None:
        if self.has_ended:
            return
        self.has_ended = self._reader.has_ended = True
        self.close_reason = reason
        if isinstance(reason, RemoteProtocolError):
            self._outbox.put(self._connection.send_goodbye(str(reason)), join=False)
            self._outbox.push()
        self._caller.end(str(reason) if reason else "this side has closed it")
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
            self._reader.interrupt()
        with suppress(OSError):  # Now, as a handler that is slow to be cancelled may keep the socket open for long.
            self._sock.shutdown(socket.SHUT_RDWR)


def _raw(sock: socket.socket | trio.SocketStream | trio.socket.SocketType) -> socket.socket:
    """Return a non-blocking socket that belongs to the channel alone."""
    if isinstance(sock, trio.SocketStream):
        sock = sock.socket
    if not isinstance(sock, socket.socket):
        sock = socket.socket(fileno=sock.detach())
    sock.setblocking(False)
    return sock
