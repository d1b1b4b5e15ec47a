"""One api of a dependency, as a callable: what its caller's arguments are, and what carries the call.

Nothing here waits: see `asked`.
"""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from svcd.worker.asked import FallbackStream, RebuiltStream, awaited, rebuilt, submitted, with_fallback
from svcd.worker.iterators import has_iterators
from svcd.worker.outgoing import split
from svcd.worker.stepped import stepped
from svcd.worker.stream import SyncStream

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from svcd.worker.local_tasks import BlockingTask, LocalTask
    from svcd.worker.outgoing import Inputs
    from svcd.worker.proxy import Edge


class ApiCall:
    """One api of a dependency, in both colours."""

    __slots__ = ("__name__", "_call", "_edge", "_is_plain", "_is_stream", "_retries", "_schema")

    def __init__(self, edge: Edge, name: str, *, is_stream: bool, idempotent: bool) -> None:
        self.__name__ = name
        self._edge = edge
        self._is_stream = is_stream
        self._retries = edge.retries if idempotent else 0
        self._schema = edge.schemas.get(name)
        self._call = edge.caller.call
        self._is_plain = False
        """Its calls are what the caller makes of them, with nothing around: known once it was called."""

    def __repr__(self) -> str:
        return f"<api {self._edge.caller.service}.{self.__name__}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Be called in the colour of its declaration: as `to_async`, unless a subclass says otherwise.

        (mypyc lays out a class that can be called in another way, so all of a family have to be such.)
        """
        named = self._bind(args, kwargs) if args else kwargs
        if self._is_plain and not has_iterators(named):  # here too: it is how most calls are made
            return self._call(self.__name__, named, deadline=None, retries=self._retries)
        return self._begun(named)

    def to_async(self, *args: Any, **kwargs: Any) -> Any:
        """Return an awaitable of the result, or an async iterator of a stream's items."""
        named = self._bind(args, kwargs) if args else kwargs
        if self._is_plain and not has_iterators(named):
            return self._call(self.__name__, named, deadline=None, retries=self._retries)
        return self._begun(named)

    def _begun(self, named: dict[str, Any]) -> Any:
        side = self._edge.side
        if side is None or not side.is_here:
            return self._on_trio(named)
        from svcd.worker.aio_items import ItemsForAsyncio, bridged  # noqa: PLC0415  (where asyncio is wanted)

        called = self._on_trio(bridged(named, side) if has_iterators(named) else named)
        return ItemsForAsyncio(called, side) if self._is_stream else side.ask(awaited, called)

    def _on_trio(self, named: dict[str, Any]) -> Any:
        inputs: Inputs | None = None
        if has_iterators(named):
            named, inputs = split(named)
        edge = self._edge
        if edge.fallback is None:
            return self._primary(named, inputs)
        instead = partial(getattr(edge.fallback.to_async, self.__name__), **named, **(inputs or {}))
        if self._is_stream:
            return FallbackStream(self._primary(named, inputs), instead, inputs or {})
        return with_fallback(self._primary(named, inputs), instead, inputs or {})

    def _primary(self, named: dict[str, Any], inputs: Inputs | None) -> Any:
        edge = self._edge
        deadline = None if edge.timeout is None else edge.caller.deadline_of(edge.timeout)
        if self._is_stream:
            items = edge.caller.stream(self.__name__, named, deadline=deadline, inputs=inputs)
            rebuild = self._rebuild()
            return items if rebuild is None else RebuiltStream(items, rebuild)
        rebuild = self._rebuild()
        self._is_plain = rebuild is None and edge.timeout is None and edge.side is None and edge.fallback is None
        call = self._call(self.__name__, named, deadline=deadline, retries=self._retries, inputs=inputs)
        return call if rebuild is None else rebuilt(call, rebuild)

    def to_sync(self, *args: Any, **kwargs: Any) -> Any:
        """Return the result, or an iterator of a stream's items, blocking this thread meanwhile."""
        edge = self._edge
        if edge.portal.on_loop or (edge.side is not None and edge.side.is_here):
            whose = "svcd's event loop, which has to answer it" if edge.portal.on_loop else "the asyncio loop"
            raise RuntimeError(
                f"{edge.place}.{self.__name__}(...) would block {whose};"
                f" write `await {edge.place}.to_async.{self.__name__}(...)`"
            )
        named = self._bind(args, kwargs) if args else kwargs
        replies: SimpleQueue[Any] | None = None
        if has_iterators(named):
            replies = SimpleQueue()
            named = stepped(named, edge.portal, replies)
        if self._is_stream:
            return SyncStream(self.to_async(**named), edge.portal, replies)
        return edge.portal.run(partial(self.to_async, **named), replies=replies)

    def submitted(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, LocalTask]:
        """Await this to have it run in the background."""
        named = self._bind(args, kwargs) if args else kwargs
        return submitted(self._edge.tasks, self._edge.place, self.__name__, named)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        if self._schema is None:
            raise TypeError(
                f"{self._edge.caller.service}.{self.__name__}: give arguments by keyword;"
                " the order is not known here, because its class is not imported"
            )
        return self._schema.bind(args, kwargs)

    def _rebuild(self) -> Callable[[Any], Any] | None:
        return None if self._schema is None else self._schema.rebuild


class AsyncApi(ApiCall):
    """An api declared with `async def`."""

    __slots__ = ()

    def submit(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, LocalTask]:
        """Await this to have it run in the background."""
        return self.submitted(args, kwargs)


class SyncApi(ApiCall):
    """An api declared with `def`."""

    __slots__ = ()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As `to_sync`."""
        return self.to_sync(*args, **kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> BlockingTask:
        """Have it run in the background."""
        from svcd.worker.local_tasks import BlockingTask  # noqa: PLC0415  (only where there are tasks)

        portal = self._edge.portal
        return BlockingTask(portal.run(self.submitted, args, kwargs), portal)
