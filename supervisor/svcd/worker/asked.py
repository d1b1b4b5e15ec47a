"""What a call of a dependency waits for beyond the call itself: a fallback, its result made anew, a task. `asking` has
the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.worker.outgoing import any_begun
from svcd_ipc.errors import DeadlineExceeded, Overloaded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.worker.local_tasks import LocalTask, LocalTasks
    from svcd.worker.outgoing import Inputs

FAULTS = (ServiceUnavailable, Overloaded, DeadlineExceeded, ReplicaLost)
"""What a fallback is for; an error raised by the callee's own code is an answer."""


async def rebuilt(call: Awaitable[Any], rebuild: Callable[[Any], Any]) -> Any:
    """Return the result of a call, made what the api declares."""
    return rebuild(await call)


async def awaited(call: Awaitable[Any]) -> Any:
    """Be the coroutine of what can be awaited."""
    return await call


async def with_fallback(call: Awaitable[Any], instead: Callable[[], Awaitable[Any]], inputs: Inputs) -> Any:
    """Return the result of a call, or of the other one where it fails."""
    try:
        return await call
    except FAULTS:
        if any_begun(inputs):  # what they gave already, the fallback would miss
            raise
        return await instead()


class FallbackStream:
    """A stream that another one takes the place of when it fails before its first item."""

    def __init__(self, items: Any, instead: Callable[[], Any], inputs: Inputs) -> None:
        self._items = items
        self._instead: Callable[[], Any] | None = instead
        self._inputs = inputs

    def __aiter__(self) -> FallbackStream:
        return self

    async def __anext__(self) -> Any:
        instead, self._instead = self._instead, None
        try:
            return await self._items.__anext__()
        except FAULTS:
            if instead is None or any_begun(self._inputs):
                raise
        self._items = instead()
        return await self._items.__anext__()

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._items.aclose()


class RebuiltStream:
    """A stream whose items are made what the api declares."""

    def __init__(self, items: Any, rebuild: Callable[[Any], Any]) -> None:
        self._items = items
        self._rebuild = rebuild

    def __aiter__(self) -> RebuiltStream:
        return self

    async def __anext__(self) -> Any:
        return self._rebuild(await self._items.__anext__())

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._items.aclose()


async def submitted(tasks: LocalTasks | None, place: str, api: str, named: dict[str, Any]) -> LocalTask:
    """Have a call run in the background. Raises TypeError where there are no tasks."""
    if tasks is None:
        raise TypeError(
            f"{place}.{api}.submit: tasks are submitted to the entry, with svcd.Client or over HTTP; a service calls"
            " the method"
        )
    return await tasks.submit(api, named)
