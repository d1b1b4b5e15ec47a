"""The caller's end of arguments that are streams: takes items from the caller's iterators as the callee wants them."""

from __future__ import annotations

import contextvars
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.bell import Bell
from svcd_ipc.errors import EncodeError
from svcd_ipc.writing import room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from svcd_ipc.connection import Connection
    from svcd_ipc.outbox import Outbox


class Feeding:
    """Feeds the inputs of one call, each from a task of its own that begins with the first item wanted.

    The iterators run in the caller's context. What one of them raises is told to `fail`; those that were begun are
    closed when the call is over.
    """

    def __init__(
        self,
        inputs: Mapping[str, AsyncIterator[Any]],
        *,
        nursery: trio.Nursery,
        connection: Connection,
        outbox: Outbox,
        fail: Callable[[BaseException], None],
    ) -> None:
        self._inputs = list(inputs.items())
        self._nursery = nursery
        self._connection = connection
        self._outbox = outbox
        self._fail = fail
        self._context = contextvars.copy_context()
        self._bells: dict[int, Bell] = {}
        """Of inputs that were begun; rung when more is wanted."""
        self._scopes: list[trio.CancelScope] = []
        self._ended = Bell()
        self._running = 0
        self._is_over = False
        self.number = 0
        """Of the call."""

    @property
    def names(self) -> list[str]:
        """The arguments that are fed."""
        return [name for name, _ in self._inputs]

    @property
    def has_begun(self) -> bool:
        """Whether an item of any of them was wanted."""
        return bool(self._bells)

    def want(self, index: int) -> None:
        """Note that the callee takes more items of an input."""
        bell = self._bells.get(index)
        if bell is not None:
            bell.ring()
        elif not self._is_over:
            self._bells[index] = Bell()
            self._running += 1
            self._context.run(self._nursery.start_soon, self._pump, index)

    def stop(self) -> None:
        """Feed no more: the call is over."""
        self._is_over = True
        for scope in self._scopes:
            scope.cancel()

    async def close(self) -> None:
        """Feed no more, and return once no iterator is in use."""
        self.stop()
        with trio.CancelScope(shield=True):
            while self._running:
                await self._ended.wait()

    async def _pump(self, index: int) -> None:
        name, items = self._inputs[index]
        try:
            with trio.CancelScope() as scope:
                self._scopes.append(scope)
                if self._is_over:
                    return
                await self._feed(index, items)
        except EncodeError as error:
            self._fail(type(error)(f"args.{name}: {error}"))
        except BaseException as error:
            if trio.current_effective_deadline() == -inf:  # the connection ends, and with it the call
                raise
            self._fail(error)  # it is the caller's own, and raised there
        finally:
            self._running -= 1
            self._ended.ring()

    async def _feed(self, index: int, items: AsyncIterator[Any]) -> None:
        bell, connection = self._bells[index], self._connection
        try:
            while True:
                while not connection.may_feed(self.number, index):
                    await bell.wait()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    if not self._is_over:
                        self._outbox.put(connection.send_fed(self.number, index), join=True)
                    return
                if self._is_over:
                    return
                self._outbox.put(connection.send_feed(self.number, index, item), join=True)
                if self._outbox.is_high:
                    await room(self._outbox)
        finally:
            if close := getattr(items, "aclose", None):
                await close()
