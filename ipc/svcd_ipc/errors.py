"""What a call may raise, and what may be wrong with a connection.

Each `CallError` has a stable `code` that travels on the wire. The message is written for the person who reads the log
of the caller: it names the place and, where there is one, the next step. `ProtocolError` names the side that broke the
rules.
"""

from __future__ import annotations

import traceback
from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from types import TracebackType

MAX_TRACEBACK = 64 * 1024
"""Characters of traceback text that travel; a longer one loses its middle."""

_OURS = frozenset({"svcd", "svcd_ipc", "trio", "outcome"})
"""Packages whose frames at the top of a traceback tell the service's author nothing."""


class CallError(Exception):
    """A call did not give a result. Catch this one to catch them all."""

    code: ClassVar[str] = "error"
    from_peer = False
    """Whether the peer answered so. Otherwise this side found out by itself, and knows whether the call was sent."""

    @property
    def message(self) -> str:
        """The text, without the class name."""
        return str(self)

    def wire_details(self) -> dict[str, Any]:
        """Return what else has to travel, in msgpack's own types."""
        return {}


class ServiceUnavailable(CallError):  # noqa: N818 - errors of this tree are named after what happened
    """No replica can serve, or the service failed. The call was not delivered."""

    code = "unavailable"


class DeadlineExceeded(CallError):  # noqa: N818 - as above
    """The time was up before there was a result."""

    code = "deadline"


class Overloaded(CallError):  # noqa: N818 - as above
    """The waiting room is full. The call was not delivered."""

    code = "overloaded"


class ReplicaLost(CallError):  # noqa: N818 - as above
    """The connection ended while the call may have been running."""

    code = "lost"


class InvalidArgument(CallError):  # noqa: N818 - as above
    """The callee does not accept the arguments."""

    code = "invalid"

    def __init__(self, message: str, details: list[dict[str, Any]] | None = None) -> None:
        super().__init__(message)
        self.details: list[dict[str, Any]] = details or []
        """One map per bad field: `{"field": str, "message": str, ...}`."""

    def wire_details(self) -> dict[str, Any]:
        return {"details": self.details}


class UnknownApi(CallError):  # noqa: N818 - as above
    """The callee has no api of this name."""

    code = "unknown_api"


class BadResult(CallError):  # noqa: N818 - as above
    """The api returned a value that cannot travel."""

    code = "bad_result"


class Busy(CallError):  # noqa: N818 - as above
    """The replica holds all the calls it may; this one was not started and may go to another replica."""

    code = "busy"

    def __init__(self, message: str = "the replica is busy", load: tuple[int, int] = (0, 0)) -> None:
        super().__init__(message)
        self.load = load
        """(in flight, queued) at the replica when it refused."""

    def wire_details(self) -> dict[str, Any]:
        return {"load": list(self.load)}


class RemoteError(CallError):
    """The callee's own code raised; printing this error shows the traceback of every hop."""

    code = "remote"

    def __init__(self, type_name: str, message: str, remote_traceback: str = "", origin: Origin | None = None) -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name)
        self.type_name = type_name
        """Name of the exception's class there, with its module unless that is builtins."""
        self._message = message
        self.remote_traceback = remote_traceback
        """As Python printed it there; starts with the innermost hop."""
        self.origin = origin
        """What the exception was made of there; None when that cannot travel."""
        if remote_traceback:
            # A note is printed with the error wherever it surfaces, also as the cause of another one.
            self.add_note(f"Remote traceback:\n{remote_traceback.rstrip()}")

    @property
    def message(self) -> str:
        """The text of the exception there."""
        return self._message

    def wire_details(self) -> dict[str, Any]:
        # Raised again here: the text gets this hop's frames on top of the other hops'. Else it is passed on as it is.
        text = self.remote_traceback if self.__traceback__ is None else format_error(self)
        details: dict[str, Any] = {"type": self.type_name, "traceback": text}
        if self.origin is not None:
            details["origin"] = list(self.origin)
        return details

    @classmethod
    def of(cls, error: BaseException) -> RemoteError:
        """Return what the caller is told when the callee's code raised `error`."""
        return cls(_type_name(error), _text(error), format_error(error), Origin.of(error))


class Origin(NamedTuple):
    """What an exception was made of, so that a caller who knows its class can make it again."""

    module: str
    qualname: str
    args: list[Any]
    state: dict[str, Any]
    """Its own attributes."""

    @classmethod
    def of(cls, error: BaseException) -> Origin | None:
        """Return the origin, or None where an argument or attribute is more than plain values."""
        state = {name: value for name, value in vars(error).items() if name != "__notes__"}
        if not _is_plain(list(error.args)) or not _is_plain(state):
            return None
        return cls(type(error).__module__, type(error).__qualname__, list(error.args), state)

    @classmethod
    def read(cls, told: object) -> Origin | None:
        """Return the origin that came with an error frame, or None when it is none."""
        match told:
            case [str(module), str(qualname), list(args), dict(state)]:
                return cls(module, qualname, args, state)
        return None


def _is_plain(value: object, depth: int = 8) -> bool:
    """Tell whether msgpack carries a value as it is; integers beyond 64 bits and deep nests are left behind."""
    if depth == 0:
        return False
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    if value is None or type(value) in {str, bytes, float}:
        return True
    if type(value) is list:
        return all(_is_plain(item, depth - 1) for item in value)
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item, depth - 1) for key, item in value.items())
    return False


class ProtocolError(Exception):
    """The rules of the connection were broken; it cannot go on."""


class LocalProtocolError(ProtocolError):
    """This side broke them (or tried to: nothing was sent)."""


class RemoteProtocolError(ProtocolError):
    """The other side broke them."""


class EncodeError(LocalProtocolError):
    """A value cannot travel; the message names its type and its place within the whole value."""


class TooLarge(InvalidArgument, EncodeError):  # noqa: N818 - as above
    """A value is larger than a frame, and there was no room for it in shared memory. To a caller: an argument is."""


_BY_CODE: dict[str, type[CallError]] = {
    kind.code: kind for kind in (ServiceUnavailable, DeadlineExceeded, Overloaded, ReplicaLost, UnknownApi, BadResult)
}


def to_wire(error: CallError) -> tuple[str, str, dict[str, Any]]:
    """Return (code, message, details) of an error for an error frame."""
    return error.code, error.message, error.wire_details()


def from_wire(code: str, message: str, details: dict[str, Any]) -> CallError:
    """Return the error that an error frame tells of; an unknown code becomes a RemoteError that names it."""
    error = _made(code, message, details)
    error.from_peer = True
    return error


def _made(code: str, message: str, details: dict[str, Any]) -> CallError:
    if kind := _BY_CODE.get(code):
        return kind(message)
    if code == InvalidArgument.code:
        found = details.get("details")
        return InvalidArgument(message, found if isinstance(found, list) else None)
    if code == Busy.code:
        load = details.get("load")
        return Busy(message, (load[0], load[1])) if isinstance(load, list) and len(load) == 2 else Busy(message)
    type_name = details.get("type") if code == RemoteError.code else code
    traceback_text = str(details.get("traceback") or "")
    return RemoteError(str(type_name), message, traceback_text, Origin.read(details.get("origin")))


def format_error(error: BaseException) -> str:
    """Return the traceback as Python prints it, with causes and remote hops, without our frames about the user's."""
    report = traceback.TracebackException(type(error), error, _user_part(error.__traceback__))
    _trim(report, error)
    text = "".join(report.format())
    if len(text) <= MAX_TRACEBACK:
        return text
    half = MAX_TRACEBACK // 2
    return f"{text[:half]}\n  ... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"


def _user_part(tb: TracebackType | None) -> TracebackType | None:
    """Skip the outermost frames that are ours; keep all when nothing else is there."""
    walk = tb
    while walk is not None:
        package = str(walk.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in _OURS:
            return walk
        walk = walk.tb_next
    return tb


def _trim(report: traceback.TracebackException | None, error: BaseException | None) -> None:
    """Leave out our frames below the last one of the user, of an error and its causes that we only passed on."""
    while report is not None and error is not None:
        ours = _innermost_ours(error.__traceback__)
        is_passed_on = isinstance(error, CallError) or isinstance(error.__cause__, CallError)
        if ours and is_passed_on:
            del report.stack[-ours:]
        if error.__cause__ is not None:
            report, error = report.__cause__, error.__cause__
        else:
            report, error = report.__context__, error.__context__


def _innermost_ours(tb: TracebackType | None) -> int:
    """Return how many of the innermost frames are ours; 0 when all are."""
    packages = [str(frame.f_globals.get("__name__", "")).partition(".")[0] for frame, _ in traceback.walk_tb(tb)]
    count = sum(1 for _ in takewhile(_OURS.__contains__, reversed(packages)))
    return count if count < len(packages) else 0


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as second:  # noqa: BLE001 - a broken __str__ of user code must not hide the error itself
        return f"<its __str__ raised {type(second).__name__}>"
