"""Arguments that are iterators: the body of their call is the other arguments, then the items as they are given.

One argument of a call may be such. Nothing is taken of it before its call is under way, and a call whose iterator was
begun is not sent again. No I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from svcd.client import wire
from svcd.client.http11 import Request
from svcd.values.media import MSGPACK_SEQ
from svcd_ipc import codec
from svcd_ipc.errors import EncodeError

if TYPE_CHECKING:
    from collections.abc import Mapping


class SourceError(Exception):
    """The iterator raised, or gave what cannot travel; `error` is to be raised at the call in the place of this."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(repr(error))
        self.error = error


class Source:
    """The items of an argument, as pieces of a body."""

    def __init__(self, argument: str, items: Any) -> None:
        self._argument = argument
        self._items = items
        self.has_begun = False
        """Whether anything was taken."""
        self.error: BaseException | None = None
        """What it has failed with."""

    def next(self) -> bytes | None:
        """Return the next piece, None after the last. Raises SourceError."""
        self.has_begun = True
        try:
            return self._encode(next(self._items))
        except StopIteration:
            return None
        except BaseException as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Take no more of it; a generator that was begun cleans up."""
        if self.has_begun and (close := getattr(self._items, "close", None)):
            close()

    def _encode(self, item: Any) -> bytes:
        try:
            return codec.encode(item)
        except EncodeError as error:
            raise EncodeError(f"args.{self._argument}: {error}") from None

    def _failed(self, error: BaseException) -> SourceError:
        self.error = error
        return SourceError(error)


class AsyncSource(Source):
    """The same of an async iterator, or of a plain one whose steps do not block."""

    def __init__(self, argument: str, items: Any) -> None:
        is_plain = hasattr(type(items), "__anext__") or hasattr(type(items), "__next__")
        super().__init__(argument, items if is_plain else aiter(items))

    async def anext(self) -> bytes | None:
        """As `next`."""
        if not hasattr(type(self._items), "__anext__"):
            return self.next()
        self.has_begun = True
        try:
            return self._encode(await anext(self._items))
        except StopAsyncIteration:
            return None
        except Exception as error:
            raise self._failed(error) from error

    async def aclose(self) -> None:
        """As `close`."""
        if self.has_begun and (close := getattr(self._items, "aclose", None)):
            await close()
        else:
            self.close()


def request_of(api: str, args: Mapping[str, Any], kind: type[Source]) -> Request:
    """Return the request that calls an api; `kind` is what makes pieces of an iterator.

    Raises EncodeError for an argument that cannot travel.
    """
    iterators = {name: value for name, value in args.items() if _is_iterator(value)}
    values = wire.encode(api, {name: value for name, value in args.items() if name not in iterators})
    if not iterators:
        return Request.of_call(api, values)
    (name, items), *others = iterators.items()
    if others:
        raise EncodeError(f"{api}: {' and '.join(iterators)} are iterators; one may be, give the others as lists")
    if kind is Source and not hasattr(type(items), "__next__"):
        raise EncodeError(f"{api}: {name} is an async iterator; svcd.AsyncClient takes those")
    content_type = f"{MSGPACK_SEQ}; items={quote(name, safe='')}"
    return Request.of_call(api, values, content_type=content_type, source=kind(name, items))


def _is_iterator(value: Any) -> bool:
    kind = type(value)
    return hasattr(kind, "__next__") or hasattr(kind, "__anext__") or hasattr(kind, "__aiter__")
