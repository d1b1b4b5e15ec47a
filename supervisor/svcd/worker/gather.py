"""`svcd.gather`: several calls at once, results in the order of the calls, the first error cancels the others."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.portal import Portal, here

if TYPE_CHECKING:
    from collections.abc import Awaitable


def gather(*calls: Any) -> Any:
    """Run calls in parallel and return their results in order, as a list.

    In `async def` code await it; in `def` code it blocks and returns the list itself. Either way it takes awaitables,
    so a call of a `def` api is written in its other colour:

        a, b = await svcd.gather(self.left.score(x=1), self.right.score.to_async(x=1))      # in async def
        a, b = svcd.gather(self.left.score.to_async(x=1), self.right.score.to_async(x=1))   # in def

    Raises:
        The first error of a call, as it is (no exception group); the other calls are cancelled then.
    """
    for index, call in enumerate(calls):
        if not inspect.isawaitable(call):
            _close(calls)
            raise TypeError(
                f"svcd.gather: argument {index + 1} is {type(call).__name__}, no awaitable; a `def` api has run"
                " already when it is called plainly, write self.dependency.api.to_async(...)"
            )
    if trio.lowlevel.in_trio_run():
        return run_all(calls)
    side = getattr(here, "side", None)
    if side is not None:  # asyncio code
        return side.gather(calls)
    portal = Portal.current()
    if portal is None:
        _close(calls)
        raise RuntimeError("svcd.gather blocks only on a service's own thread; elsewhere await it")
    return portal.run(run_all, calls)


async def run_all(calls: tuple[Awaitable[Any], ...]) -> list[Any]:
    """Await all at once. Raises the first error after cancelling the rest."""
    results: list[Any] = [None] * len(calls)
    errors: list[Exception] = []

    async def run(index: int, call: Awaitable[Any]) -> None:
        try:
            results[index] = await call
        except Exception as error:  # noqa: BLE001  (raised below, once the others have been cancelled)
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(run, index, call)
    if errors:
        raise errors[0]
    return results


def _close(calls: tuple[Any, ...]) -> None:
    for call in calls:
        if inspect.iscoroutine(call):
            call.close()
