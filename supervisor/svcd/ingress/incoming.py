"""The body of a request as the entry asks for it: no more is read of a client than the entry takes."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from svcd.ingress.exchange import LOOK, ClientGoneError
from svcd.ingress.problems import refuse

if TYPE_CHECKING:
    from svcd.ingress.exchange import Exchange


class IncomingBody:
    """An async iterator over the pieces of a body. `pump` has to run meanwhile.

    Args:
        exchange: The request.
        patience: Seconds that each piece may take to come.
    """

    def __init__(self, exchange: Exchange, patience: float) -> None:
        self._exchange = exchange
        self._patience = patience
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._error: Exception | None = None
        exchange.is_body_unread = True

    def __repr__(self) -> str:
        return f"<IncomingBody of {self._exchange}>"

    def __aiter__(self) -> IncomingBody:
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece. Raises RefusedError (408) when it does not come in time."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
        except trio.ClosedResourceError:
            pass
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Want no more of it."""
        self._receive.close()

    async def pump(self, scope: trio.CancelScope) -> None:
        """Hand over what comes, as it is asked for; cancel the scope when the client has gone."""
        with suppress(ClientGoneError):
            await self._hand_over_all()
            self._send.close()
            await self._exchange.until_gone()
        scope.cancel()  # and never an end for a body that was cut off

    async def _hand_over_all(self) -> None:
        while True:
            piece, is_last = b"", False
            with trio.move_on_after(self._patience) as waiting:
                piece, is_last = await self._exchange.read_piece()
            if waiting.cancelled_caught:
                self._error = refuse(408, "slow_body", f"no more of the body came for {self._patience:g} s")
                return
            if piece:
                await self._hand_over(piece)
            if is_last:
                return

    async def _hand_over(self, piece: bytes) -> None:
        is_taken = False
        while not is_taken:
            with trio.move_on_after(LOOK):
                with suppress(trio.BrokenResourceError):  # it is not wanted any more, and dropped
                    await self._send.send(piece)
                is_taken = True
            if not is_taken and self._exchange.is_gone():
                raise ClientGoneError
