"""What a dependency looks like to the code that calls it: one callable per api, in the colour of its declaration.

`async def` apis are awaited, `def` apis block; `proxy.to_async.api(...)` and `proxy.api.to_async(...)` give the other
colour, `to_sync` likewise.
"""

from __future__ import annotations

from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

from svcd.app.nearest import nearest
from svcd.worker.outgoing import any_begun, has_iterators, split
from svcd.worker.stepped import stepped
from svcd.worker.stream import SyncStream
from svcd_ipc.errors import DeadlineExceeded, Overloaded, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from svcd.app.schemas import ApiSchema
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.local_tasks import BlockingTask, LocalTask, LocalTasks
    from svcd.worker.outgoing import Inputs
    from svcd.worker.thread import Portal


class Caller(Protocol):
    """What carries calls to a service: a route, or another service of this process."""

    service: str

    def deadline_of(self, timeout: float | None) -> float: ...

    async def call(
        self, api: str, args: dict[str, Any], *, deadline: float | None, retries: int = 0, inputs: Inputs | None = None
    ) -> Any: ...

    def stream(
        self, api: str, args: dict[str, Any], *, deadline: float | None, inputs: Inputs | None = None
    ) -> Any: ...


class Edge:
    """One dependency as its caller declared it.

    Args:
        place: How the caller's code names it, such as `self.features`.
        caller: What carries the calls.
        portal: The way onto the loop for code that blocks.
        timeout: Seconds per call, or None for what is left of the caller's own deadline.
        retries: For idempotent apis.
        schemas: Of the callee's apis, where its class can be imported here.
        fallback: What is called instead when the callee cannot answer.
        side: The asyncio loop of the caller's `async def` code, where it has one.
        tasks: What takes submitted tasks, where they can be submitted.
    """

    def __init__(
        self,
        place: str,
        caller: Caller,
        portal: Portal,
        *,
        timeout: float | None = None,
        retries: int = 0,
        schemas: Mapping[str, ApiSchema] | None = None,
        fallback: Proxy | None = None,
        side: AsyncioSide | None = None,
        tasks: LocalTasks | None = None,
    ) -> None:
        self.place = place
        self.caller = caller
        self.portal = portal
        self.timeout = timeout
        self.retries = retries
        self.schemas = schemas or {}
        self.fallback = fallback
        self.side = side
        self.tasks = tasks


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

    def to_async(self, *args: Any, **kwargs: Any) -> Any:
        """Return an awaitable of the result, or an async iterator of a stream's items."""
        named = self._bind(args, kwargs) if args else kwargs
        if self._is_plain and not has_iterators(named):
            return self._call(self.__name__, named, deadline=None, retries=self._retries)
        side = self._edge.side
        if side is None or not side.is_here:
            return self._on_trio(named)
        from svcd.worker.aio_items import ItemsForAsyncio, bridged  # noqa: PLC0415  (where asyncio is wanted)

        called = self._on_trio(bridged(named, side) if has_iterators(named) else named)
        return ItemsForAsyncio(called, side) if self._is_stream else side.ask(_awaited, called)

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
        return _with_fallback(self._primary(named, inputs), instead, inputs or {})

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
        return call if rebuild is None else _rebuilt(call, rebuild)

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

    async def _submit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> LocalTask:
        tasks = self._edge.tasks
        if tasks is None:
            raise TypeError(
                f"{self._edge.place}.{self.__name__}.submit: tasks are submitted to the entry, with svcd.Client or over"
                " HTTP; a service calls the method"
            )
        return await tasks.submit(self.__name__, self._bind(args, kwargs) if args else kwargs)

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

    __call__ = ApiCall.to_async

    async def submit(self, *args: Any, **kwargs: Any) -> LocalTask:
        """Have it run in the background."""
        return await self._submit(args, kwargs)


class SyncApi(ApiCall):
    """An api declared with `def`."""

    __slots__ = ()

    __call__ = ApiCall.to_sync

    def submit(self, *args: Any, **kwargs: Any) -> BlockingTask:
        """Have it run in the background."""
        from svcd.worker.local_tasks import BlockingTask  # noqa: PLC0415  (only where there are tasks)

        portal = self._edge.portal
        return BlockingTask(portal.run(self._submit, args, kwargs), portal)


FAULTS = (ServiceUnavailable, Overloaded, DeadlineExceeded, ReplicaLost)
"""What a fallback is for; an error raised by the callee's own code is an answer."""


async def _rebuilt(call: Awaitable[Any], rebuild: Callable[[Any], Any]) -> Any:
    return rebuild(await call)


async def _awaited(call: Awaitable[Any]) -> Any:
    return await call


async def _with_fallback(call: Awaitable[Any], instead: Callable[[], Awaitable[Any]], inputs: Inputs) -> Any:
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


class Colour:
    """All apis of a dependency in one colour."""

    def __init__(self, service: str, calls: Mapping[str, Callable[..., Any]]) -> None:
        self.__dict__.update(calls)
        self._svcd_service = service

    def __getattr__(self, name: str) -> Any:
        raise _no_api(self._svcd_service, name, self.__dict__)


class Proxy:
    """A dependency. Each api is an attribute in its own colour; `to_async` and `to_sync` have all in one.

    Args:
        edge: The dependency.
        apis: `{NAME: {is_async, is_stream, idempotent}}`.
        colour: `async` or `sync` for all apis, instead of each in its own.
    """

    to_async: Colour
    to_sync: Colour

    def __init__(self, edge: Edge, apis: Mapping[str, Mapping[str, Any]], *, colour: str | None = None) -> None:
        calls: dict[str, ApiCall] = {}
        for name, told in apis.items():
            is_async = told["is_async"] if colour is None else colour == "async"
            kind = AsyncApi if is_async else SyncApi
            calls[name] = kind(edge, name, is_stream=told["is_stream"], idempotent=told["idempotent"])
        service = edge.caller.service
        self.__dict__.update(calls)
        self.__dict__["to_async"] = Colour(service, {name: call.to_async for name, call in calls.items()})
        self.__dict__["to_sync"] = Colour(service, {name: call.to_sync for name, call in calls.items()})
        self.__dict__["_svcd"] = (edge, calls)

    def __repr__(self) -> str:
        edge, calls = self.__dict__["_svcd"]
        return f"<{edge.place} -> {edge.caller.service} [{', '.join(calls)}]>"

    def __getattr__(self, name: str) -> Any:
        edge, calls = self.__dict__["_svcd"]
        raise _no_api(edge.caller.service, name, calls)


def _no_api(service: str, name: str, known: Mapping[str, Any]) -> AttributeError:
    apis = [api for api in known if not api.startswith("_")]
    return AttributeError(f"{service} has no api {nearest(name, apis)}")
