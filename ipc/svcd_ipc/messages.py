"""The messages of the wire: one event class per kind, and the reading of each from a msgpack array.

    hello  [0, "svcd", version, identity, capabilities]
    call   [1, id, api, args, deadline or nil, trace or nil, attempt, window]
    result [2, id, value, in flight, queued]        and the times of a call that carries a trace: svcd_ipc.timing
    error  [3, id, code, message, details, in flight, queued]     id 0: about the connection, which ends
    busy   [4, id, in flight, queued]
    item   [5, id, value]
    end    [6, id, in flight, queued]
    credit [7, id, count]
    cancel [8, id]
    ping   [9, token]     pong [10, token]     drain [11]
    feed   [12, id, input, value]
    fed    [13, id, input]
    want   [14, id, input, count]
    arena  [15, size]               with the descriptors of the memory and of its lifeline, or 0 and none
    taken  [16, nil or reason]      the arena that was handed over can be used, or why not
    return [17, [slot, ...]]        one for each reference to the receiver's arena that is no longer used

Ids count up from 1 in each direction. call, credit, cancel, feed and fed speak of the sender's own calls, the others
of the receiver's. Each call gets exactly one of result, error, busy or end, also after a cancel. `window` is how many
items the caller takes before it gives credit; 0 means that it wants one value and no stream.

Arguments that are streams are named in one more field at the end of a call, `[..., window, [name, ...]]`, and numbered
as they stand there. Their items are fed one by one, each only once it was wanted, until the input is fed.

Where both hellos have the capability `memory`, each side hands its arena over right after the hellos, once, and says
whether it has taken the other's. From then on values may refer to an arena instead of travelling: see `sharing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final

from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.timing import check as check_times

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION: Final = 1
MEMORY: Final = "memory"
"""Capability: it can share memory with this peer."""
MAGIC: Final = "svcd"

Load = tuple[int, int]
"""(in flight, queued) at the sender."""


class Kind(IntEnum):
    """First element of each message."""

    HELLO = 0
    CALL = 1
    RESULT = 2
    ERROR = 3
    BUSY = 4
    ITEM = 5
    END = 6
    CREDIT = 7
    CANCEL = 8
    PING = 9
    PONG = 10
    DRAIN = 11
    FEED = 12
    FED = 13
    WANT = 14
    ARENA = 15
    TAKEN = 16
    RETURN = 17


@dataclass(slots=True)
class Hello:
    """The first message of each side."""

    version: int
    identity: dict[str, Any] = field(repr=False)  # it may hold secrets
    capabilities: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Name the peer for a message: `Classifier/0`, else what it says of itself."""
        who = self.identity
        if "service" in who:
            return f"{who['service']}/{who['replica']}" if "replica" in who else str(who["service"])
        return str(who.get("role", "the peer"))


@dataclass(slots=True)
class Call:
    """The peer asks for an api."""

    id: int
    api: str
    args: dict[str, Any]
    deadline: float | None
    trace: str | None
    attempt: int
    window: int
    fault: str | None = None
    """Why the arguments cannot be read here; they are incomplete then."""
    inputs: tuple[str, ...] = ()
    """Names of the arguments that are streams."""


@dataclass(slots=True)
class Result:
    """A call gave one value."""

    id: int
    value: Any
    load: Load
    fault: str | None = None
    """Why the value cannot be read here."""
    timing: list[Any] | None = None
    """Where the time of the call went, see `svcd_ipc.timing`."""


@dataclass(slots=True)
class Error:
    """A call, or with id 0 the connection, failed."""

    id: int
    code: str
    message: str
    details: dict[str, Any]
    load: Load


@dataclass(slots=True)
class Refused:
    """A call was not started (busy)."""

    id: int
    load: Load


@dataclass(slots=True)
class Item:
    """One value of a stream."""

    id: int
    value: Any
    size: int
    """Bytes of its frame, and of what that refers to."""
    fault: str | None = None


@dataclass(slots=True)
class End:
    """A stream is complete."""

    id: int
    load: Load


@dataclass(slots=True)
class Credit:
    """The peer has consumed items of a stream."""

    id: int
    count: int


@dataclass(slots=True)
class Cancel:
    """The peer no longer wants the answer of a call."""

    id: int


@dataclass(slots=True)
class Ping:
    """To be answered by a pong with the same token."""

    token: int


@dataclass(slots=True)
class Pong:
    """The answer to a ping."""

    token: int


@dataclass(slots=True)
class Drain:
    """The peer takes no new calls."""


@dataclass(slots=True)
class Feed:
    """One item of an argument that is a stream."""

    id: int
    input: int
    value: Any
    size: int
    """Bytes of its frame, and of what that refers to."""
    fault: str | None = None


@dataclass(slots=True)
class Fed:
    """An argument that is a stream is complete."""

    id: int
    input: int


@dataclass(slots=True)
class Want:
    """The peer takes so many more items of an argument."""

    id: int
    input: int
    count: int


@dataclass(slots=True)
class Arena:
    """The peer hands over its arena; 0 bytes when it has none."""

    size: int


@dataclass(slots=True)
class Taken:
    """The peer has taken this side's arena, unless there is a reason why not."""

    reason: str | None


@dataclass(slots=True)
class Return:
    """The peer gives back slots of this side's arena."""

    slots: list[int]


Answer = Result | Error | Refused | End
Event = (
    Hello | Call | Answer | Item | Credit | Cancel | Ping | Pong | Drain | Feed | Fed | Want | Arena | Taken | Return
)


def parse(message: list[Any], size: int) -> Event:
    """Return the event of a message whose frame has `size` bytes. Raises RemoteProtocolError."""
    try:
        kind = message[0]
        if type(kind) is int and kind >= 0:
            return _PARSERS[kind](message, size)
    except (ValueError, TypeError, KeyError) as error:
        raise RemoteProtocolError(f"the peer sent a malformed {Kind(kind).name.lower()}: {error}") from None
    except IndexError:
        kind = message[0] if message else None
    raise RemoteProtocolError(f"the peer sent a message of unknown kind {kind!r:.40}")


def parse_faulty(message: list[Any], size: int, fault: str) -> Event:
    """Return the event of a message in which a value was replaced by None because of `fault`. Raises as `parse`."""
    event = parse(message, size)
    if not isinstance(event, (Call, Result, Item, Feed)):
        raise RemoteProtocolError(f"the peer sent a malformed {type(event).__name__.lower()}: {fault}")
    event.fault = fault
    return event


def _hello(message: list[Any], _size: int) -> Hello:
    if len(message) < 3 or message[1] != MAGIC:
        raise ValueError("it does not speak this protocol")
    version = message[2]
    if version != VERSION:
        raise ValueError(f"the peer speaks version {version!r:.20}, this side version {VERSION}")
    _, _, _, identity, capabilities = message
    _check(isinstance(identity, dict) and isinstance(capabilities, list), "identity and capabilities")
    return Hello(version, identity, capabilities)


def _call(message: list[Any], _size: int) -> Call:
    if len(message) == 9:
        return _call_with_inputs(message)
    _, number, api, args, deadline, trace, attempt, window = message
    if not (
        type(number) is int
        and type(api) is str
        and type(args) is dict
        and (deadline is None or type(deadline) is float)
        and (trace is None or type(trace) is str)
        and type(attempt) is int
        and type(window) is int
        and window >= 0
    ):
        raise ValueError("a field has the wrong type")
    return Call(number, api, args, deadline, trace, attempt, window)


def _call_with_inputs(message: list[Any]) -> Call:
    *plain, names = message
    call = _call(plain, 0)
    _check(isinstance(names, list) and len(names) > 0, "names of inputs")
    for name in names:
        _check(type(name) is str and name not in call.args, "names of inputs that are no other arguments")
    _check(len(set(names)) == len(names), "each input once")
    call.inputs = tuple(names)
    return call


def _result(message: list[Any], _size: int) -> Result:
    timing = None
    if len(message) == 5:
        _, number, value, in_flight, queued = message
    else:
        _, number, value, in_flight, queued, timing = message
        check_times(timing)
    if not (type(number) is type(in_flight) is type(queued) is int):
        raise ValueError("a field has the wrong type")
    return Result(number, value, (in_flight, queued), None, timing)


def _error(message: list[Any], _size: int) -> Error:
    _, number, code, text, details, in_flight, queued = message
    _check(isinstance(code, str) and isinstance(text, str) and isinstance(details, dict), "code, message and details")
    return Error(_natural(number), code, text, details, (_natural(in_flight), _natural(queued)))


def _busy(message: list[Any], _size: int) -> Refused:
    _, number, in_flight, queued = message
    return Refused(_natural(number), (_natural(in_flight), _natural(queued)))


def _item(message: list[Any], size: int) -> Item:
    _, number, value = message
    return Item(_natural(number), value, size)


def _end(message: list[Any], _size: int) -> End:
    _, number, in_flight, queued = message
    return End(_natural(number), (_natural(in_flight), _natural(queued)))


def _drain(message: list[Any], _size: int) -> Drain:
    _check(len(message) == 1, "no fields")
    return Drain()


def _feed(message: list[Any], size: int) -> Feed:
    _, number, index, value = message
    return Feed(_natural(number), _natural(index), value, size)


def _taken(message: list[Any], _size: int) -> Taken:
    _, reason = message
    _check(reason is None or isinstance(reason, str), "nil or a reason")
    return Taken(reason)


def _return(message: list[Any], _size: int) -> Return:
    _, slots = message
    _check(isinstance(slots, list), "a list of slots")
    return Return([_natural(slot) for slot in slots])


def _counts(kind: Callable[..., Event], fields: int) -> Callable[[list[Any], int], Event]:
    """Return what reads a message of so many counts and nothing else."""

    def read(message: list[Any], _size: int) -> Event:
        _check(len(message) == 1 + fields, f"{fields} fields")
        return kind(*map(_natural, message[1:]))

    return read


def _natural(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r:.40} is no count")
    return value


def _check(good: bool, expected: str) -> None:
    if not good:
        raise ValueError(f"expected {expected}")


_PARSERS: list[Callable[[list[Any], int], Event]] = [
    *(_hello, _call, _result, _error, _busy, _item, _end, _counts(Credit, 2), _counts(Cancel, 1), _counts(Ping, 1)),
    *(_counts(Pong, 1), _drain, _feed, _counts(Fed, 2), _counts(Want, 3), _counts(Arena, 1), _taken, _return),
]
