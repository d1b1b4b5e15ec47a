"""One connection's protocol, without a socket: bytes in, events out; and for each thing to say, the bytes to send.

The connection knows which calls are open in which direction and how much credit each stream has. What the peer may not
do raises RemoteProtocolError from `next_event`; what this side may not do raises LocalProtocolError from a `send_*`
method, and then nothing was said. After a RemoteProtocolError only `send_goodbye` makes sense.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from svcd_ipc import frames
from svcd_ipc.codec import DecodeError, UndecodableError, unpack_body
from svcd_ipc.errors import CallError, EncodeError, LocalProtocolError, RemoteProtocolError, to_wire
from svcd_ipc.inputs import Inputs
from svcd_ipc.lending import MemoryTalk
from svcd_ipc.messages import (
    MAGIC,
    VERSION,
    Arena,
    Call,
    Cancel,
    Credit,
    End,
    Error,
    Event,
    Fed,
    Feed,
    Hello,
    Item,
    Kind,
    Load,
    Pong,
    Refused,
    Result,
    Return,
    Taken,
    Want,
    parse,
    parse_faulty,
)
from svcd_ipc.window import STREAM_BYTES, Window
from svcd_ipc.writer import FrameWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from svcd_ipc.writer import Chunks

__all__ = ["STREAM_BYTES", "Connection"]

_SHORT = 4096
"""Characters of an error's message that travel when all of it is too much."""

_ABANDONED = -1
"""In place of a window: the caller has let go."""

_NO_LOAD = (0, 0)
_EXPECT: Final = 8 << 20
"""Bytes of what a call refers to for which it pays to be ready: new pages for an answer take 6 ms."""

_HELLO, _CALL, _RESULT, _BUSY, _ITEM = int(Kind.HELLO), int(Kind.CALL), int(Kind.RESULT), int(Kind.BUSY), int(Kind.ITEM)
_ERROR, _END, _CREDIT, _CANCEL = int(Kind.ERROR), int(Kind.END), int(Kind.CREDIT), int(Kind.CANCEL)
_PING, _PONG, _DRAIN = int(Kind.PING), int(Kind.PONG), int(Kind.DRAIN)
_FEED, _FED, _WANT = int(Kind.FEED), int(Kind.FED), int(Kind.WANT)


class Connection(MemoryTalk):
    """The state of one connection. `limit` is the largest frame body in bytes, in both directions."""

    def __init__(self, *, limit: int = frames.DEFAULT_LIMIT) -> None:
        super().__init__()
        self.limit = limit
        self.peer: Hello | None = None
        self.has_more = False
        """Bytes have come that `next_event` has not looked at."""
        self.is_inside_frame = False
        """A frame has come in part when `next_event` last looked; only then `writable` may give something."""
        self._reader = frames.FrameReader(limit)
        self._writer = FrameWriter(limit)
        self._frame = self._writer.frame
        self._last_mine = 0
        self._last_theirs = 0
        self._mine: dict[int, int] = {}
        """Open calls of this side: id -> items that may still come, or -1 once abandoned."""
        self._theirs: dict[int, Window | None] = {}
        """Open calls of the peer: id -> window of its stream, None when it wants one value."""
        self._inputs = Inputs()
        self._pings: set[int] = set()
        self._ended = False
        self._checks: dict[type[Event], Callable[[Any], bool]] = {
            **dict.fromkeys((Result, End, Error, Refused), self._settle_mine),
            Call: self._open_theirs,
            Item: self._take_item,
            Credit: self._take_credit,
            Cancel: self._take_cancel,
            Feed: self._take_feed,
            Fed: self._take_fed,
            Want: self._take_want,
            Pong: self._take_pong,
            Hello: self._refuse_hello,
            Arena: self._take_once,
            Taken: self._take_once,
            Return: self._take_return,
        }

    @property
    def awaits_answers(self) -> bool:
        """Tell whether the peer still owes this side an answer, if only to a cancelled call."""
        return bool(self._mine or self._pings)

    # What came

    def receive_data(self, data: bytes) -> None:
        """Take bytes from the peer; empty means that it has ended the connection."""
        if data:
            self._reader.feed(data)
        else:
            self._ended = True

    def writable(self) -> memoryview | None:
        """Return where to receive the rest of a large frame, or None; report with `written`."""
        return self._reader.writable()

    def written(self, count: int) -> None:
        """Say how many bytes were received into `writable`."""
        self._reader.written(count)

    def next_event(self) -> Event | None:
        """Return what the peer said next, or None when more bytes are needed. Raises RemoteProtocolError."""
        reader, borrowed = self._reader, self._borrowed
        while (body := reader.next_frame()) is not None:
            self.has_more = reader.at < reader.size
            try:
                message = unpack_body(body, borrowed)
                event = parse(message, len(body) if borrowed is None else len(body) + borrowed.size)
            except DecodeError as error:
                event = self._salvage(error, len(body))
            if self.peer is None:
                self._greet(event)
                return event
            check = self._checks.get(type(event))
            if check is None or check(event):
                return event
        self.has_more = False
        self.is_inside_frame = reader.target is not None
        if self._ended and (missing := self._reader.missing):
            raise RemoteProtocolError(f"the peer ended the connection after {missing}")
        return None

    def _salvage(self, error: DecodeError, size: int) -> Event:
        """Return the event of a message in which only the user's value cannot be made."""
        if isinstance(error, UndecodableError):
            return parse_faulty(error.envelope, size, str(error))
        raise RemoteProtocolError(f"the peer sent a frame that is no message: {error}") from None

    # Each of these checks an event against the state and moves on; False when this side has let go of what it is about.

    def _greet(self, event: Event) -> None:
        if isinstance(event, Hello):
            self.peer = event
        elif not (isinstance(event, Error) and event.id == 0):
            raise RemoteProtocolError(f"the peer's first message was {type(event).__name__.lower()}, not hello")

    def _refuse_hello(self, _hello: Hello) -> bool:
        raise RemoteProtocolError("the peer said hello twice")

    def _open_theirs(self, call: Call) -> bool:
        if self._borrowed is not None and self._borrowed.size >= _EXPECT and self._lender is not None:
            self._lender.expect(self._borrowed.size)
        if call.id <= self._last_theirs:
            raise RemoteProtocolError(f"the peer made call {call.id} after call {self._last_theirs}")
        self._last_theirs = call.id
        self._theirs[call.id] = Window(call.window) if call.window else None
        if call.inputs:
            self._inputs.theirs[call.id] = [0] * len(call.inputs)
        return True

    def _settle_mine(self, event: Result | Error | End | Refused) -> bool:
        number = event.id
        if number == 0 and isinstance(event, Error):
            return True
        window = self._mine.pop(number, None)
        if window is None:
            raise RemoteProtocolError(f"the peer answered call {number}, which is not open")
        if self._inputs.mine:
            self._inputs.mine.pop(number, None)
        return window != _ABANDONED

    def _take_item(self, item: Item) -> bool:
        window = self._mine.get(item.id)
        if window is None:
            raise RemoteProtocolError(f"the peer sent an item of call {item.id}, which is not open")
        if window == _ABANDONED:
            return False
        if window == 0:
            raise RemoteProtocolError(f"the peer sent an item of call {item.id} without credit")
        self._mine[item.id] = window - 1
        return True

    def _take_cancel(self, cancel: Cancel) -> bool:
        return self._is_theirs(cancel.id, "cancelled")

    def _take_credit(self, credit: Credit) -> bool:
        if not self._is_theirs(credit.id, "credited"):
            return False
        window = self._theirs[credit.id]
        if window is None or credit.count > len(window.sizes):
            raise RemoteProtocolError(f"the peer gave credit {credit.count} for items of call {credit.id} it never got")
        window.give(credit.count)
        return True

    def _take_feed(self, feed: Feed) -> bool:
        if not self._is_theirs(feed.id, "fed"):
            return False
        self._inputs.take_feed(feed)
        return True

    def _take_fed(self, fed: Fed) -> bool:
        if not self._is_theirs(fed.id, "fed"):
            return False
        self._inputs.take_fed(fed)
        return True

    def _take_want(self, want: Want) -> bool:
        if not 0 < want.id <= self._last_mine:
            raise RemoteProtocolError(f"the peer wanted items of call {want.id}, which was never made")
        if self._mine.get(want.id, _ABANDONED) == _ABANDONED:
            return False
        return self._inputs.take_want(want)

    def _take_pong(self, pong: Pong) -> bool:
        if pong.token not in self._pings:
            raise RemoteProtocolError(f"the peer answered ping {pong.token}, which was not asked")
        self._pings.remove(pong.token)
        return True

    def _is_theirs(self, number: int, verb: str) -> bool:
        """Tell whether a call of the peer is open; its answer may have crossed what the peer says about it."""
        if not 0 < number <= self._last_theirs:
            raise RemoteProtocolError(f"the peer {verb} call {number}, which it never made")
        return number in self._theirs

    # What to say

    def send_hello(self, identity: Mapping[str, Any], capabilities: Sequence[str] = ()) -> Chunks:
        """Return this side's first message."""
        self._capabilities = list(capabilities)
        return self._frame([_HELLO, MAGIC, VERSION, dict(identity), list(capabilities)], 3, "identity")

    def send_call(
        self,
        api: str,
        args: Mapping[str, Any],
        deadline: float | None = None,
        trace: str | None = None,
        attempt: int = 0,
        window: int = 0,
        inputs: Sequence[str] = (),
    ) -> tuple[int, Chunks]:
        """Return (id, frame) of a new call. Raises EncodeError for arguments that cannot travel."""
        number = self._last_mine + 1
        message = [_CALL, number, api, args, deadline, trace, attempt, window]
        if inputs:
            message.append(list(inputs))
        chunks = self._frame(message, 3, "args")
        if inputs:
            self._inputs.open(number, len(inputs))
        self._last_mine = number
        self._mine[number] = window
        return number, chunks

    def send_result(self, number: int, value: Any, load: Load = _NO_LOAD, timing: list[Any] | None = None) -> Chunks:
        """Answer a call with a value. Raises EncodeError for one that cannot travel; the call is open still then."""
        if number not in self._theirs:
            self._check_theirs(number)
        message = [_RESULT, number, value, *load] if timing is None else [_RESULT, number, value, *load, timing]
        chunks = self._frame(message, 2, "result")
        del self._theirs[number]
        if self._inputs.theirs:
            self._inputs.theirs.pop(number, None)
        return chunks

    def send_error(self, number: int, error: CallError, load: Load = _NO_LOAD) -> Chunks:
        """Answer a call with an error, or end a stream with it."""
        self._check_theirs(number)
        code, message, details = to_wire(error)
        try:
            chunks = self._frame([_ERROR, number, code, message, details, *load], 4, "details")
        except EncodeError:  # An error must always get through, if need be without what cannot travel.
            chunks = self._frame(
                [_ERROR, number, code, message[:_SHORT].encode("ascii", "replace").decode(), {}, *load]
            )
        self._forget_theirs(number)
        return chunks

    def send_busy(self, number: int, load: Load = _NO_LOAD) -> Chunks:
        """Answer that the call was not started."""
        self._check_theirs(number)
        self._forget_theirs(number)
        return self._frame([_BUSY, number, *load])

    def may_send_item(self, number: int) -> bool:
        """Tell whether the consumer of a stream has room for one more item."""
        window = self._theirs.get(number)
        return window is not None and window.is_open

    def send_item(self, number: int, value: Any) -> Chunks:
        """Return one item of a stream. Raises EncodeError; LocalProtocolError without credit."""
        self._check_theirs(number)
        window = self._theirs[number]
        if window is None or not window.is_open:
            raise LocalProtocolError(f"no credit for an item of call {number}")
        chunks = self._frame([_ITEM, number, value], 2, "item")
        window.take(self._writer.size)
        return chunks

    def send_end(self, number: int, load: Load = _NO_LOAD) -> Chunks:
        """Say that a stream is complete."""
        self._check_theirs(number)
        self._forget_theirs(number)
        return self._frame([_END, number, *load])

    def send_credit(self, number: int, count: int) -> Chunks:
        """Say that `count` items of an open stream of this side were consumed."""
        window = self._mine.get(number, _ABANDONED)
        if window == _ABANDONED:
            raise LocalProtocolError(f"credit for call {number}, which is not open")
        self._mine[number] = window + count
        return self._frame([_CREDIT, number, count])

    def send_cancel(self, number: int) -> Chunks:
        """Let go of a call of this side: nothing more of it is reported. No bytes when it is settled already."""
        if self._mine.get(number, _ABANDONED) == _ABANDONED:
            return []
        self._mine[number] = _ABANDONED
        self._inputs.mine.pop(number, None)
        return self._frame([_CANCEL, number])

    def may_feed(self, number: int, index: int) -> bool:
        """Tell whether the callee wants one more item of an input of a call of this side."""
        return self._inputs.may_feed(number, index)

    def send_feed(self, number: int, index: int, value: Any) -> Chunks:
        """Return one item of an input. Raises EncodeError; LocalProtocolError when it is not wanted."""
        if not self._inputs.may_feed(number, index):
            raise LocalProtocolError(f"call {number} wants no item of input {index}")
        chunks = self._frame([_FEED, number, index, value], 3, "item")
        self._inputs.feed(number, index, self._writer.size)
        return chunks

    def send_fed(self, number: int, index: int) -> Chunks:
        """Say that an input is complete."""
        self._inputs.complete(number, index)
        return self._frame([_FED, number, index])

    def send_want(self, number: int, index: int, count: int) -> Chunks:
        """Ask for so many more items of an input of the peer's call. No bytes when nothing more can come."""
        return self._frame([_WANT, number, index, count]) if self._inputs.want(number, index, count) else []

    def send_ping(self, token: int) -> Chunks:
        """Ask for a pong."""
        self._pings.add(token)
        return self._frame([_PING, token])

    def send_pong(self, token: int) -> Chunks:
        """Answer a ping."""
        return self._frame([_PONG, token])

    def send_drain(self) -> Chunks:
        """Ask the peer to make no new calls."""
        return self._frame([_DRAIN])

    def send_goodbye(self, reason: str) -> Chunks:
        """Say why this side is about to end the connection."""
        return self._frame([_ERROR, 0, "goodbye", reason, {}, *_NO_LOAD])

    def _check_theirs(self, number: int) -> None:
        if number not in self._theirs:
            raise LocalProtocolError(f"an answer to call {number}, which is not open")

    def _forget_theirs(self, number: int) -> None:
        del self._theirs[number]
        self._inputs.theirs.pop(number, None)
