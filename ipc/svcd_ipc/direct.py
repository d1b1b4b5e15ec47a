"""What is left of a call that was begun directly (see `calls.Direct`) and has to wait. `callee` has the rest."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

from svcd_ipc.buffers import may_be_large

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator

    from svcd_ipc.callee import Serving
    from svcd_ipc.calls import Blocking, Direct
    from svcd_ipc.staging import Staging


class Continuing:
    """Goes on with direct calls. Its coroutines run in the context of the call."""

    def __init__(self, direct: Direct) -> None:
        self._direct = direct
        self.staging: Staging | None = None
        """Set by the channel where arrays are lent."""

    async def go_on(self, serving: Serving, running: Coroutine[Any, Any, Any], trap: Any) -> Any:
        """Run a call to its value, after its first step has yielded `trap` to the loop."""
        try:
            value = await _resumed(running, trap)
        except BaseException as error:  # noqa: BLE001 - raised again, or what it stands for
            instead = self._direct.fail(serving.call, error)
            try:
                if instead is error:
                    raise
                raise instead from None
            finally:
                del instead  # Its traceback refers to this frame: see `Caller.call`.
        return await self.staged(serving, self._direct.succeed(serving.call, value))

    async def rest(self, serving: Serving, blocking: Blocking) -> Any:
        """Run a call to its value that a thread runs already."""
        return await self.staged(serving, await blocking.rest())

    async def staged(self, serving: Serving, value: Any) -> Any:
        """Return a value as it is to be answered, with what is large in it ready to be lent."""
        if self.staging is None or not may_be_large(value):
            return value
        prepared = await self.staging.prepared(value)
        if getattr(value, "base", value) is None:  # Its memory is its own, so it holds nothing of the caller's.
            serving.original = value
        return prepared


@types.coroutine
def _resumed(coro: Coroutine[Any, Any, Any], trap: Any) -> Generator[Any, Any, Any]:
    """Run a coroutine to its end, after its first step has yielded `trap` to the loop."""
    try:
        while True:
            try:
                sent = yield trap
            except BaseException as error:  # noqa: BLE001 - whatever is thrown in belongs to the coroutine
                trap = coro.throw(error)
            else:
                trap = coro.send(sent)
    except StopIteration as stop:
        return stop.value
    finally:
        sent = None  # As in `crew.go_on`.
