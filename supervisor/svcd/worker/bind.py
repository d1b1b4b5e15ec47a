"""From the boot document's dependencies to the proxies on an instance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.app.declare import declaration_of, dependencies_of
from svcd.app.schemas import schemas_of
from svcd.app.urls import bind_url, urls_of
from svcd.worker.proxy import Edge, Proxy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.app.declare import Dependency
    from svcd.app.schemas import ApiSchema
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.portal import Portal
    from svcd.worker.proxy import Caller

    Told = Mapping[str, Any]
    """A callee as the boot document tells of it."""


def bind_dependencies(
    instance: Any,
    told: Mapping[str, Told],
    caller_of: Callable[[Told], Caller],
    portal: Portal,
    side: AsyncioSide | None = None,
) -> None:
    """Put a proxy on the instance for each dependency of its class.

    Args:
        instance: Of a service; its `__init__` need not have run.
        told: The boot document's `dependencies`.
        caller_of: Gives what carries calls to a callee.
        portal: The way onto the loop.
        side: The asyncio loop of the service, where it has one.
    """
    for name, dependency in dependencies_of(type(instance)).items():
        if name not in told:
            raise RuntimeError(
                f"{type(instance).__name__}.{name}: svcd was not told of this dependency; restart the app"
            )
        # Past the class's own __setattr__, if it has one: nothing of the user's has run yet.
        instance.__dict__[name] = _proxy(dependency, told[name], caller_of, portal, side)


def bind_urls(instance: Any, source_of: Callable[[str], Callable[[], str]]) -> None:
    """Have the attributes that are dependencies on programs give URLs; `source_of` takes the name of the service."""
    for name, url in urls_of(type(instance)).items():
        bind_url(instance, name, source_of(url.service))


def _proxy(
    dependency: Dependency[Any],
    callee: Told,
    caller_of: Callable[[Told], Caller],
    portal: Portal,
    side: AsyncioSide | None,
) -> Proxy:
    fallback: Proxy | None = None
    if dependency.fallback is not None and callee["fallback"]:
        fallback = _proxy(dependency.fallback, callee["fallback"], caller_of, portal, None)  # called from trio
    edge = Edge(
        f"self.{dependency.name}",
        caller_of(callee),
        portal,
        timeout=callee.get("timeout"),
        retries=callee.get("retries", dependency.retries),
        schemas=imported_schemas(dependency.target),
        fallback=fallback,
        side=side,
    )
    return Proxy(edge, callee["apis"])


def unborn(cls: type) -> Any:
    """Return an instance whose `__init__` has yet to run, so that its dependencies can be bound before."""
    new: Any = cls.__new__
    return new(cls)


def imported_schemas(target: type | str) -> dict[str, ApiSchema]:
    """Return the schemas of a dependency that is given as a class; one given as text is not imported for them."""
    declaration = declaration_of(target)
    return schemas_of(target, declaration.name) if declaration and isinstance(target, type) else {}
