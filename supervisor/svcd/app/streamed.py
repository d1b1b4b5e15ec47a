"""Parameters that are streams: which annotations say so, and how their items are checked.

`AsyncIterator[T]` in `async def` apis, `Iterator[T]` in `def` apis; `AsyncGenerator`, `AsyncIterable` and `Generator`
say the same. Items are checked one by one as they are taken. A list will do in the place of a stream.
"""

from __future__ import annotations

import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ValidationError
from pydantic_core import core_schema

from svcd.app.adapters import adapter, details_of
from svcd.app.annotations import with_arrays
from svcd.app.strict_json import read_json
from svcd_ipc.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

_ASYNC = (AsyncIterator, AsyncIterable, AsyncGenerator)
_SYNC = (Iterator, Generator)


def is_streamed(annotation: Any) -> bool:
    """Whether an annotation says that a parameter is a stream."""
    return _kind(annotation) in (*_ASYNC, *_SYNC)


def streamed(annotation: Any, title: str, name: str, *, is_async: bool) -> Any:
    """Return what pydantic makes of the annotation of a parameter that is a stream.

    Raises TypeError where the annotation is of the other colour than the api.
    """
    wanted, told = (_ASYNC, "AsyncIterator") if is_async else (_SYNC, "Iterator")
    if _kind(annotation) not in wanted:
        raise TypeError(f"{title}: {name}: in {'async def' if is_async else 'def'} code a stream is {told}[...]")
    arms = typing.get_args(annotation)
    return Annotated[Any, _Items(with_arrays(arms[0]) if arms else Any, title, name)]


def _kind(annotation: Any) -> Any:
    if typing.get_origin(annotation) is Annotated:
        return _kind(typing.get_args(annotation)[0])
    return typing.get_origin(annotation) or annotation


class _Items:
    """Pydantic's view of a stream: an async iterator, whose items are checked later, or a list."""

    def __init__(self, item: Any, title: str, name: str) -> None:
        self._item = item
        self._title = title
        self._name = name

    def __get_pydantic_core_schema__(self, _source: Any, handler: Any) -> core_schema.CoreSchema:
        item = adapter(self._item, f"{self._title}.{self._name}")
        check = item.validator.validate_python

        def validate(value: Any, as_list: Callable[[Any], list[Any]]) -> CheckedItems | ListedItems:
            if isinstance(value, JsonItems):
                return CheckedItems(value, partial(read_json, item), self._title, self._name)
            if hasattr(type(value), "__anext__"):
                return CheckedItems(value, check, self._title, self._name)
            return ListedItems(as_list(value))

        listed = core_schema.list_schema(handler.generate_schema(self._item))
        return core_schema.no_info_wrap_validator_function(validate, listed)


class JsonItems:
    """An async iterator whose items are texts of JSON, to be read as what the annotation says."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __aiter__(self) -> JsonItems:
        return self

    async def __anext__(self) -> Any:
        return await self._items.__anext__()

    async def aclose(self) -> None:
        """Take no more items."""
        await self._items.aclose()


class CheckedItems:
    """The items of a stream as its annotation wants them."""

    def __init__(self, items: Any, check: Callable[[Any], Any], title: str, name: str) -> None:
        self._items = items
        self._check = check
        self._title = title
        self._name = name
        self._count = 0

    def __repr__(self) -> str:
        return f"<items of {self._title}.{self._name} [{self._count} taken]>"

    def __aiter__(self) -> CheckedItems:
        return self

    async def __anext__(self) -> Any:
        item = await self._items.__anext__()
        place, self._count = f"{self._name}.{self._count}", self._count + 1
        try:
            return self._check(item)
        except ValidationError as error:
            details = details_of(error, within=(place,))
            told = "; ".join(f"{detail['field']}: {detail['message']}" for detail in details)
            raise InvalidArgument(f"{self._title}: {told}", details=details) from None

    async def aclose(self) -> None:
        """Take no more items."""
        await self._items.aclose()


class ListedItems:
    """A list in the place of a stream; its items have been checked."""

    def __init__(self, items: list[Any]) -> None:
        self._items = iter(items)

    def __aiter__(self) -> ListedItems:
        return self

    async def __anext__(self) -> Any:
        for item in self._items:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Take no more items."""
        self._items = iter(())
