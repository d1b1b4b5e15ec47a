"""What a dependency looks like to the code that calls it: one callable per api, in the colour of its declaration.

`async def` apis are awaited, `def` apis block; `proxy.to_async.api(...)` and `proxy.api.to_async(...)` give the other
colour, `to_sync` likewise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from svcd.app.nearest import nearest
from svcd.worker.asking import ApiCall, AsyncApi, SyncApi

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.app.schemas import ApiSchema
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.local_tasks import LocalTasks
    from svcd.worker.outgoing import Inputs
    from svcd.worker.portal import Portal


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
