"""Streams between trio and the asyncio loop of a service, in both directions."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from svcd.worker.iterators import is_iterator
from svcd.worker.outgoing import Stepping

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from svcd.worker.aio import AsyncioSide


class ItemsForAsyncio:
    """A stream that lives on trio, for `async for` in asyncio code."""

    def __init__(self, items: Any, side: AsyncioSide) -> None:
        self._items = items
        self._side = side

    def __aiter__(self) -> ItemsForAsyncio:
        return self

    async def __anext__(self) -> Any:
        return await self._side.ask(self._items.__anext__)

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._side.ask(self._items.aclose)


class ItemsFromAsyncio:
    """An async generator that needs asyncio, for trio: one asyncio task takes all its steps, each when it is asked for.

    One task, because timeouts and task groups of asyncio belong to the task that entered them.
    """

    def __init__(self, items: Any, side: AsyncioSide) -> None:
        self._items = items
        self._side = side
        self._driver: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[Any] | None = None
        self._asked = asyncio.Event()

    def __aiter__(self) -> ItemsFromAsyncio:
        return self

    async def __anext__(self) -> Any:
        return await self._side.run(self._step)

    async def aclose(self) -> None:
        """Let the generator clean up, if it was begun."""
        if self._driver is not None and not self._driver.done():
            self._side.soon(self._driver.cancel)  # by itself: what follows may be cancelled before it begins
            await self._side.run(self._ended)

    # What follows runs on asyncio.

    async def _step(self) -> Any:
        if self._driver is None:
            self._driver = asyncio.create_task(self._drive())
        if self._driver.done():
            raise StopAsyncIteration
        self._answer = asyncio.get_running_loop().create_future()
        self._asked.set()
        try:
            return await self._answer
        except asyncio.CancelledError:
            self._driver.cancel()
            await self._ended()
            raise

    async def _drive(self) -> None:
        try:
            while True:
                await self._asked.wait()
                self._asked.clear()
                self._give(await anext(self._items))
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  (raised where the items are taken)
            self._give(error, is_error=True)
        finally:
            await self._close()

    async def _close(self) -> None:
        close = getattr(self._items, "aclose", None)
        if close is None:
            return
        try:
            await close()
        except BaseExceptionGroup as group:
            # A task group around a `yield` makes a group of how the generator is closed.
            _, rest = group.split((GeneratorExit, asyncio.CancelledError))
            if rest is not None:
                raise rest from None

    def _give(self, item: Any, *, is_error: bool = False) -> None:
        if self._answer is None or self._answer.done():
            return
        if is_error:
            self._answer.set_exception(item)
        else:
            self._answer.set_result(item)

    async def _ended(self) -> None:
        if self._driver is not None:
            with suppress(asyncio.CancelledError):
                await self._driver  # if this is cancelled, so is what it waits for


def adapted(method: Any, side: AsyncioSide, *, is_stream: bool, inputs: Collection[str]) -> Any:
    """Return what trio can call in the place of an `async def` api that needs asyncio; `inputs` name its streams."""

    def brought(args: dict[str, Any]) -> dict[str, Any]:
        return args | {name: ItemsForAsyncio(args[name], side) for name in inputs if name in args}

    async def run(**args: Any) -> Any:
        return await side.run(partial(method, **brought(args)))

    def stream(**args: Any) -> ItemsFromAsyncio:
        return ItemsFromAsyncio(method(**brought(args)), side)

    return stream if is_stream else run


def bridged(named: Mapping[str, Any], side: AsyncioSide) -> dict[str, Any]:
    """Return the arguments of a call with the iterators of asyncio code made such as trio can take from."""
    return {
        name: ItemsFromAsyncio(_async(value), side) if is_iterator(value) else value for name, value in named.items()
    }


def _async(value: Any) -> Any:
    if hasattr(type(value), "__anext__"):
        return value
    return aiter(value) if hasattr(type(value), "__aiter__") else Stepping(value)
