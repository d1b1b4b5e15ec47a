"""Arguments that are streams, between services of one process: items travel as they would over a connection."""

from __future__ import annotations

from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.calls import call_context, current_call
from svcd_ipc.codec import transfer
from svcd_ipc.errors import CallError, EncodeError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from svcd_ipc.calls import IncomingCall


class LocalInputs:
    """The inputs of one call."""

    def __init__(self, inputs: Mapping[str, Any], call: IncomingCall) -> None:
        self._scope = trio.CancelScope()
        self._carried = {name: CarriedItems(call, name, items, self._fail) for name, items in inputs.items()}
        self.error: BaseException | None = None
        """What a caller's iterator raised."""
        call.args.update(self._carried)

    @asynccontextmanager
    async def while_running(self) -> AsyncIterator[None]:
        """Be the context in which the call runs.

        What the caller's iterator raises cancels the callee and is raised here. Iterators that were begun are closed.
        """
        with self._scope:
            try:
                yield
            finally:
                for items in self._carried.values():
                    await items.over()
        if self.error is not None:
            raise self.error

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error = error
        self._scope.cancel()


class CarriedItems:
    """One input at its callee; its items are taken from the caller's iterator, in the caller's context."""

    def __init__(self, call: IncomingCall, name: str, items: Any, fail: Callable[[BaseException], None]) -> None:
        self._title = f"{call.api}.{name}"
        self._name = name
        self._items = items
        self._fail = fail
        self._caller = current_call()
        self._has_begun = self._has_ended = self._is_over = False

    def __aiter__(self) -> CarriedItems:
        return self

    async def __anext__(self) -> Any:
        if self._is_over:
            raise CallError(f"{self._title}: its items can only be taken while the call runs")
        if self._has_ended:
            raise StopAsyncIteration
        self._has_begun = True
        try:
            with call_context(self._caller):
                item = await self._items.__anext__()
            return transfer(item)
        except StopAsyncIteration:
            self._has_ended = True
            raise
        except EncodeError as error:
            self._fail(EncodeError(f"args.{self._name}: item{str(error).removeprefix('value')}"))
        except BaseException as error:
            if trio.current_effective_deadline() == -inf:
                raise
            self._fail(error)
        return await trio.sleep_forever()  # until the call is cancelled, as `fail` does

    async def aclose(self) -> None:
        """Take no more items."""
        self._has_ended = True

    async def over(self) -> None:
        """Close the caller's iterator."""
        self._is_over = True
        if self._has_begun:
            with call_context(self._caller):
                await self._items.aclose()
