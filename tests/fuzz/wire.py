"""Any input to the sans-I/O core: only events, or the error that names the peer. Without a fuzzer of its own.

An input is read as choices: the first byte says how the rest becomes bytes of a peer, the second in which state the
connection is. Then the connection gets them in pieces, answers what may be answered, and is asked whether it kept its
promises: no other error, never more memory than the limit, no view outside of what the peer handed over.

`make fuzz` feeds it with a coverage-guided fuzzer, `make test` replays the inputs under corpus/.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgpack

from svcd_ipc import codec, exttypes, frames, mapping
from svcd_ipc.connection import Connection
from svcd_ipc.errors import EncodeError, RemoteError, RemoteProtocolError
from svcd_ipc.memory import Memory
from svcd_ipc.messages import MAGIC, MEMORY, VERSION, Call, Feed, Item, Result
from svcd_ipc.sharing import Sharing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT = 8 * 1024
"""Bytes of a frame here: small, so that the inputs that pass it are short."""
ARENA = 64 * 1024
_REFERENCE = struct.Struct("<BxxxxxxxQQQ")
_BY = "the peer"


class Choices:
    """Reads an input as small decisions; at its end every decision is the first one."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_over(self) -> bool:
        return self._at >= len(self._data)

    def byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def below(self, bound: int) -> int:
        return self.byte() % bound

    def bytes(self, count: int) -> bytes:
        found = self._data[self._at : self._at + count]
        self._at += count
        return found

    def rest(self) -> bytes:
        return self.bytes(len(self._data))


def value(choices: Choices, depth: int = 0) -> Any:
    """Make a value that a peer may send, well-formed or not."""
    kind = choices.below(12)
    if kind < 6:
        return (None, True, choices.byte() - 3, -1.5, 2**63 + choices.byte(), float("nan"))[kind]
    if kind < 9:
        data = choices.bytes(choices.below(20))
        return (data, data.decode("utf-8", "replace"), data.decode("utf-8", "surrogateescape"))[kind - 6]
    if kind == 9:
        return choices.below(2) and reference(choices)
    if kind == 10 and depth < 4:
        inner = [value(choices, depth + 1) for _ in range(choices.below(5))]
        return inner if choices.below(2) else {f"{choices.byte():x}": each for each in inner}
    return msgpack.ExtType(choices.below(15), choices.bytes(choices.below(48)))


def reference(choices: Choices) -> msgpack.ExtType:
    """Make an array that lies in shared memory, or so it says."""
    meta = msgpack.packb(["|u1", [choices.below(200)]])
    numbers = (choices.below(4), choices.below(200) * 512, choices.below(200))
    return msgpack.ExtType(exttypes.SHARED, meta + _REFERENCE.pack(choices.below(3), *numbers))


def message(choices: Choices) -> list[Any]:
    """Make a message: mostly of the right shape, with fields of small numbers that meet those of open calls."""
    kind = choices.below(20)
    shapes: dict[int, str] = {
        1: "nsmdtnn",
        2: "nvnn",
        3: "nssmnn",
        4: "nnn",
        5: "nv",
        6: "nnn",
        7: "nn",
        8: "n",
        9: "n",
        10: "n",
        11: "",
        12: "nnv",
        13: "nn",
        14: "nnn",
        15: "n",
        16: "v",
        17: "l",
    }
    made: list[Any] = [kind, *(field(choices, each) for each in shapes.get(kind, "vvv"))]
    if kind == 2 and choices.below(4) == 3:
        made.append([choices.below(3), choices.below(3), {"A.b": [1, 2, choices.byte() - 1]}])
    if kind == 1 and choices.below(4) == 3:
        made.append(["items", "others"][: choices.below(3)])
    return made


def field(choices: Choices, kind: str) -> Any:
    """Make one field: number, string, map, deadline, trace, list of numbers, or any value; now and then a wrong one."""
    if choices.below(16) == 15:
        return value(choices)
    makers: dict[str, Callable[[], Any]] = {
        "n": lambda: choices.below(6),
        "s": lambda: "api",
        "m": lambda: {"x": value(choices)},
        "d": lambda: None if choices.below(2) else 12.5,
        "t": lambda: None if choices.below(2) else "00-1-2-00",
        "l": lambda: [choices.below(4) for _ in range(choices.below(4))],
        "v": lambda: value(choices),
    }
    return makers[kind]()


def peer_bytes(choices: Choices) -> bytes:
    """Return what the peer sends: raw bytes, bodies in right frames, or messages."""
    kind = choices.below(3)
    if kind == 0:
        return choices.rest()
    sent = []
    while not choices.is_over:
        if kind == 1:
            sent.append(frames.pack(choices.bytes(choices.byte() * 2)))
        else:
            sent.append(frames.pack(msgpack.packb(message(choices), unicode_errors="surrogateescape")))
    return b"".join(sent)


class Peerless:
    """A connection in the middle of its life, with nobody at the other end."""

    def __init__(self, *, is_greeted: bool, has_calls: bool, shares: bool) -> None:
        self.connection = Connection(limit=LIMIT)
        capabilities = [MEMORY] if shares else []
        self.connection.send_hello({"service": "Fuzz"}, capabilities)
        self.sharing: Sharing | None = None
        if not is_greeted:
            return
        hello = [0, MAGIC, VERSION, {"service": "Peer", "replica": 0}, capabilities]
        self.connection.receive_data(frames.pack(msgpack.packb(hello)))
        assert self.connection.next_event() is not None
        if shares:
            self.sharing = Sharing(MEMORY_HERE, -1)
            self.sharing.attach(THEIRS)
            self.sharing.may_lend = True
            self.connection.share(self.sharing)
        if has_calls:
            for window in (0, 0, 2):
                self.connection.send_call("api", {"x": 1}, window=window)
            self.connection.send_call("api", {}, inputs=["items", "others"])
            self.connection.send_cancel(2)
            self.connection.send_ping(1)

    def take(self, data: bytes, cuts: Choices) -> None:
        """Receive in pieces; answer what comes. Raises RemoteProtocolError."""
        while data:
            piece = cuts.byte() * 4 + 1
            self._receive(data[:piece])
            data = data[piece:]
            for event in self._events():
                self._check(event)
                if isinstance(event, Call):
                    self._answer(event, cuts)
        self.connection.receive_data(b"")
        for event in self._events():
            self._check(event)

    def _receive(self, piece: bytes) -> None:
        room = self.connection.writable() if self.connection.is_inside_frame else None
        if room is None:
            self.connection.receive_data(piece)
            return
        assert len(room) <= LIMIT
        count = min(len(room), len(piece))
        room[:count] = piece[:count]
        self.connection.written(count)
        self.connection.receive_data(piece[count:]) if piece[count:] else None

    def _events(self) -> Iterator[Any]:
        while (event := self.connection.next_event()) is not None:
            yield event

    @staticmethod
    def _check(event: Any) -> None:
        if isinstance(event, (Call, Result, Item, Feed)) and event.fault is not None:
            assert event.fault

    def _answer(self, call: Call, choices: Choices) -> None:
        connection, way = self.connection, choices.below(5)
        if call.inputs and way == 0:
            connection.send_want(call.id, 0, 2)
        elif way == 1 and connection.may_send_item(call.id):
            connection.send_item(call.id, "item")
        elif way == 2:
            connection.send_error(call.id, RemoteError.of(ValueError("x")))
        elif way == 3:
            connection.send_busy(call.id)
        elif call.window:
            connection.send_end(call.id)
        else:
            self._echo(call)

    def _echo(self, call: Call) -> None:
        """Answer with what came; when that is too long for a frame, say so as a callee does."""
        try:
            self.connection.send_result(call.id, call.args if call.fault is None else None)
        except EncodeError as error:
            self.connection.send_error(call.id, RemoteError.of(error))


MEMORY_HERE = Memory(ARENA)
_, THEIRS = mapping.create(ARENA)


def run(data: bytes) -> None:
    """Try one input. Raises what must not be raised."""
    choices = Choices(data)
    state = choices.byte()
    if state & 8:
        try:
            codec.decode(choices.rest())
        except codec.DecodeError as error:
            assert str(error)  # noqa: PT017 - that there is a text is all that is asked
        return
    cuts = Choices(choices.bytes(4))
    peer = Peerless(is_greeted=not state & 1, has_calls=bool(state & 2), shares=bool(state & 4))
    try:
        peer.take(peer_bytes(choices), cuts)
    except RemoteProtocolError as error:
        assert str(error).startswith(_BY), error  # noqa: PT017 - that it names the guilty side is the point
        assert len(str(error)) < LIMIT  # noqa: PT017 - it has to go into a frame
        peer.connection.send_goodbye(str(error))
    finally:
        if peer.sharing is not None:
            peer.sharing.end()
