"""What a call of the peer runs, and the hands that wait for it. `callee` has the state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd_ipc.bell import Bell
from svcd_ipc.callee import STREAMED
from svcd_ipc.calls import current
from svcd_ipc.crew import go_on
from svcd_ipc.errors import InvalidArgument, UnknownApi
from svcd_ipc.staging import may_be_large
from svcd_ipc.writing import room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine

    from svcd_ipc.callee import Callee, Serving
    from svcd_ipc.calls import Handler, IncomingCall
    from svcd_ipc.crew import Hand
    from svcd_ipc.outbox import Outbox
    from svcd_ipc.staging import Staging


class Answering:
    """Runs the peer's calls on the hands of a crew."""

    def __init__(self, callee: Callee, outbox: Outbox, *, name: str, handler: Handler | None) -> None:
        self._callee = callee
        self._outbox = outbox
        self._name = name
        self._handler = handler or _no_handler
        self.staging: Staging | None = None
        """Set by the channel where arrays are lent."""

    async def serve(self, serving: Serving, hand: Hand) -> None:
        """Be the job of a hand that runs one call to its answer."""
        if serving.ending is not None:
            self._callee.never_begin(serving, serving.ending)
        elif self._callee.begin(serving):
            self._callee.waiting_apis.discard(serving.call.api)
        else:
            await self.finish(serving, hand)

    async def take_on(self, serving: Serving, running: Coroutine[Any, Any, Any], hand: Hand) -> None:
        """Be the job of a hand that goes on with a call which another thread has run."""
        if not self._callee.go_on(serving, running):
            await self.finish(serving, hand)

    async def finish(self, serving: Serving, hand: Hand) -> None:
        """Run a call that had to wait to its answer. Raises only outside cancellation and the like of SystemExit."""
        self._callee.waiting_apis.add(serving.call.api)
        serving.hand = hand
        try:
            value = await go_on(serving.running, serving.context, serving.trap)
        except BaseException as error:  # noqa: BLE001 - sorted out there, and raised again where it must be
            self._callee.fail(serving, error)
        else:
            self._callee.succeed(serving, value)

    async def run(self, serving: Serving) -> Any:
        """Call the handler, and return what is to be answered."""
        current.set(serving.call)
        value = await self._handler(serving.call)
        if hasattr(type(value), "__anext__"):
            await self._produce(serving, value)
            return STREAMED
        if self.staging is not None and may_be_large(value):
            staged = await self.staging.prepared(value)
            if getattr(value, "base", value) is None:  # Its memory is its own, so it holds nothing of the caller's.
                serving.original = value
            return staged
        return value

    async def _produce(self, serving: Serving, items: AsyncIterator[Any]) -> None:
        callee = self._callee
        bell = serving.bell = Bell()
        try:
            if not serving.is_stream_wanted:
                raise InvalidArgument(f"{self._name}.{serving.call.api} answers with a stream; call it as one")
            while True:
                while not callee.may_send_item(serving.id):
                    await bell.wait()
                try:
                    item = await anext(items)
                except StopAsyncIteration:
                    return
                if self.staging is not None and may_be_large(item):
                    item = await self.staging.prepared(item)
                callee.send_item(serving, item)
                if self._outbox.is_high:
                    await room(self._outbox)
        finally:
            if close := getattr(items, "aclose", None):
                await close()


async def _no_handler(call: IncomingCall) -> Any:
    raise UnknownApi(f"{call.api}: this side of the connection takes no calls")
