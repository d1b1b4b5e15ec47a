"""Calls and answers as bytes, statuses as errors. No I/O."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgpack

from svcd.tasks.errors import QueueFull, StoreUnusable, TaskCancelled, TaskExists, TaskNotDone, UnknownTask
from svcd.values.media import ERROR_ITEM, JSON, MSGPACK, MSGPACK_SEQ, TEXT
from svcd_ipc import codec, exttypes
from svcd_ipc.errors import (
    BadResult,
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    Overloaded,
    RemoteError,
    ReplicaLost,
    ServiceUnavailable,
    UnknownApi,
    from_wire,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HEADERS = {"content-type": MSGPACK, "accept": f"{MSGPACK}, {MSGPACK_SEQ}"}

_KNOWN = frozenset(
    kind.code for kind in (ServiceUnavailable, DeadlineExceeded, Overloaded, ReplicaLost, BadResult, InvalidArgument)
)
_OF_TASKS: dict[str, type[CallError]] = {
    kind.code: kind for kind in (QueueFull, StoreUnusable, TaskCancelled, TaskExists, TaskNotDone, UnknownTask)
}
_BY_STATUS: dict[int, type[CallError]] = {
    404: UnknownApi,
    429: Overloaded,
    502: ReplicaLost,
    503: ServiceUnavailable,
    504: DeadlineExceeded,
}
"""For codes that are HTTP's own, and for answers that are not svcd's but a proxy's."""


def encode(api: str, args: Mapping[str, Any]) -> bytes:
    """Return the body of a call. Raises EncodeError naming what cannot travel."""
    try:
        return codec.encode(dict(args))
    except EncodeError as error:
        raise EncodeError(f"{api}: args{str(error).removeprefix('value')}") from None


def is_stream(content_type: str) -> bool:
    """Whether an answer is a sequence of items."""
    return content_type.partition(";")[0].strip().lower() == MSGPACK_SEQ


def decode(api: str, content_type: str, body: bytes) -> Any:
    """Return the result that an answer holds. Raises BadResult."""
    if content_type.partition(";")[0].strip().lower() != MSGPACK:
        raise BadResult(
            f"{api}: answered with {content_type or 'no content type'}; is there an svcd app at this address?"
        )
    try:
        return codec.decode(body)
    except ValueError as error:
        raise BadResult(f"{api}: the result cannot be read here: {error}") from error


def decode_any(api: str, content_type: str, body: bytes) -> Any:
    """Return what an answer holds in whatever form: the result of a task has the one that its submitter asked for.

    Raises BadResult.
    """
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == JSON:
            return json.loads(body)
        if kind == TEXT:
            return body.decode()
    except ValueError as error:
        raise BadResult(f"{api}: the result cannot be read here: {error}") from error
    return decode(api, content_type, body) if kind == MSGPACK else body


class Items:
    """Items out of the chunks of a stream, wherever those were cut."""

    def __init__(self, api: str) -> None:
        self._api = api
        self._unpacker = msgpack.Unpacker(ext_hook=self._extension, strict_map_key=False, max_buffer_size=0)

    def feed(self, chunk: bytes) -> Iterator[Any]:
        """Yield the items that are complete now. Raises CallError when the stream says that it failed."""
        self._unpacker.feed(chunk)
        try:
            yield from self._unpacker
        except ValueError as error:
            raise BadResult(f"{self._api}: an item cannot be read here: {error}") from error

    def _extension(self, code: int, data: bytes) -> Any:
        if code == ERROR_ITEM:
            raise error_of(self._api, 500, data)
        return exttypes.unpack(code, data)


def error_of(api: str, status: int, body: bytes) -> CallError:
    """Return the error that an answer tells of."""
    try:
        told = json.loads(body)["error"]
        code, message = str(told["code"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        text = body[:200].decode(errors="replace").strip()
        return _by_status(status, f"{api}: answered {status}{f': {text}' if text else ''}")
    if code in _KNOWN:
        return from_wire(code, message, {"details": told.get("details")})
    if kind := _OF_TASKS.get(code):
        return kind(message)
    if "id" in told:  # as each line of it in the log begins
        return RemoteError(f"error {told['id']}", message)
    return _by_status(status, message)


def _by_status(status: int, message: str) -> CallError:
    if kind := _BY_STATUS.get(status):
        return kind(message)
    return InvalidArgument(message) if 400 <= status < 500 else RemoteError(f"status {status}", message)
