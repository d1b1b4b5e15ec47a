"""The items of a streamed answer, as whoever called takes them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.errors import InvalidArgument
from svcd_ipc.pending import ENDED, fail

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd_ipc.pending import Arrivals


class Stream:
    """The items of a streamed answer: an async iterator that is used up once, like an async generator.

    The call is sent when the first item is asked for. Leaving early, by `aclose`, cancellation or garbage collection,
    cancels the callee. An error is raised after the items that came before it, and ends the stream.
    """

    def __init__(
        self,
        arrivals: Arrivals,
        *,
        send: Callable[[], None],
        let_go: Callable[[Arrivals], None],
    ) -> None:
        self._arrivals = arrivals
        self._send: Callable[[], None] | None = send
        self._let_go = let_go
        self._token: trio.lowlevel.TrioToken | None = None
        self._is_closed = False

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Any:
        arrivals = self._arrivals
        if not arrivals.items:
            await self._await_arrival()
            if not arrivals.items:
                return self._finish()
        item = arrivals.take()
        if item.fault is not None:
            self.close()
            raise InvalidArgument(f"{arrivals.api}: an item of its stream cannot be read here: {item.fault}")
        return item.value

    async def aclose(self) -> None:
        """Leave the stream; the callee is cancelled when it has not finished."""
        self.close()

    def close(self) -> None:
        """Do what `aclose` does; nothing in it waits."""
        if not self._is_closed:
            self._is_closed = True
            self._arrivals.items.clear()
            if self._token is not None and not self._arrivals.is_settled:
                self._let_go(self._arrivals)

    async def first(self) -> tuple[bool, Any]:
        """Wait for the first of the answer; return (True, value) when it is one value and no stream."""
        await self._await_arrival()
        arrivals = self._arrivals
        if arrivals.error is not None and not arrivals.items:
            self._is_closed = True
            fail(arrivals)
        return arrivals.value is not ENDED, arrivals.value

    async def _await_arrival(self) -> None:
        """Wait until there is an item or the end. Cancellation closes the stream."""
        if self._send is not None and not self._is_closed:
            await trio.lowlevel.checkpoint_if_cancelled()
            self._token = trio.lowlevel.current_trio_token()
            send, self._send = self._send, None
            send()
        try:
            while not (self._is_closed or self._arrivals.items or self._arrivals.is_settled):
                await self._arrivals.bell.wait()
        except trio.Cancelled:
            self.close()
            raise

    def _finish(self) -> Any:
        arrivals = self._arrivals
        if self._is_closed:
            raise StopAsyncIteration
        self._is_closed = True
        if arrivals.error is not None:
            fail(arrivals)
        if arrivals.value is not ENDED:
            raise InvalidArgument(f"{arrivals.api} answers with one value; call it instead of streaming it")
        raise StopAsyncIteration

    def __del__(self) -> None:
        if self._token is None or self._is_closed or self._arrivals.is_settled:
            return
        with suppress(trio.RunFinishedError):  # The collector may run in any thread.
            self._token.run_sync_soon(self._let_go, self._arrivals)
