"""An app within one process: one instance per service, made in dependency order, closed in reverse.

Each service has its own thread, as it has in a process of its own, so that blocking calls work between them. What the
decorators say of traffic and threads holds; svcd.toml is not read.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.declare import apis_of, declaration_of
from svcd.app.graph import Graph, build
from svcd.app.load import LoadError
from svcd.app.nearest import nearest
from svcd.values.specs import Traffic, default_concurrency
from svcd.values.units import parse_duration
from svcd.worker.bind import bind_urls, unborn
from svcd.worker.members import Members
from svcd.worker.proxy import Edge, Proxy
from svcd.worker.stand_ins import StandIns, apis_of_stand_in, target_text
from svcd.worker.urls import Urls

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.app.declare import ApiDeclaration, Dependency
    from svcd.app.graph import Edge as GraphEdge
    from svcd.app.graph import Node
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.local_tasks import LocalTasks
    from svcd.worker.members import Member

CLOSING = 5.0
"""Seconds for the shutdown hooks of each service, as after SIGTERM."""


class Composition:
    """The services of one app, live in this process.

    Args:
        entry: The entry service, as a class or `module:Class`.
        replacements: See `svcd.local`.

    Raises:
        LoadError: The graph cannot be read, or a replacement replaces nothing.
    """

    def __init__(self, entry: type | str, replacements: Mapping[type | str, Any]) -> None:
        self._stand_ins = StandIns(replacements)
        self._graph = build([entry], resolve=self._resolve)
        self._members: dict[str, Member] = {}
        """By `module:Class` of what the app's code names, which a stand-in may have the place of."""
        self._process: Members
        self._tasks: LocalTasks | None = None
        self._check(self._graph)

    def __repr__(self) -> str:
        return f"<Composition {' '.join(repr(member.live) for member in self._members.values())}>"

    async def start(self, nursery: trio.Nursery) -> None:
        """Make all services, each after those it depends on. Raises what a service's `__init__` or hook raises."""
        self._process = Members(nursery, trio.lowlevel.current_clock().current_time)
        for node in self._graph.nodes.values():
            for edge in (each for declared in node.edges.values() for each in declared.all):
                target = edge.dependency.target
                if edge.node is None and target_text(target) not in self._members:
                    self._members[target_text(target)] = await self._stand_in(target)
                elif edge.node is not None:
                    self._members[target_text(target)] = self._members[edge.node.target]
            self._members[node.target] = await self._make(node)
        self._take_tasks()

    def _take_tasks(self) -> None:
        """Run the queue of the entry, where it has tasks."""
        entry = self._members[self._graph.entries[0].target]
        if any(api.declaration.task is not None for api in entry.live.apis.values()):
            from svcd.worker.local_tasks import LocalTasks  # noqa: PLC0415  (SQLite, which most apps do without)

            self._tasks = LocalTasks(entry.caller, self._process.portal)
            self._process.portal.nursery.start_soon(self._tasks.run)

    async def stop(self) -> None:
        """Run the shutdown hooks, last started first, and let the threads end. Raises the first error of a hook."""
        if self._tasks is not None:
            await self._tasks.stop()
        errors = await self._process.close(CLOSING)
        await self._process.stop()
        if errors:
            raise errors[0]

    def proxy(self, key: type | str | None, *, colour: str) -> Proxy:
        """Return all apis of a service in one colour. `key` is a class, name or `module:Class`; None is the entry.

        Raises KeyError naming the nearest when there is no such service.
        """
        text = self._graph.entries[0].target if key is None else target_text(key)
        member = self._members.get(text) or next((m for m in self._members.values() if m.live.name == text), None)
        if member is None:
            raise KeyError(f"no service {nearest(text, {m.live.name for m in self._members.values()})}")
        place = "app" if key is None else f"app[{member.live.name}]"
        tasks = self._tasks if member is self._members[self._graph.entries[0].target] else None
        edge = Edge(place, member.caller, self._process.portal, schemas=member.schemas, tasks=tasks)
        return Proxy(edge, member.apis, colour=colour)

    def _resolve(self, dependency: Dependency[object]) -> type | str | None:
        """Say what the graph has in the place of a dependency; a stand-in that is no service is no part of it."""
        stand_in = self._stand_ins.find(dependency.target)
        if stand_in is None:
            return dependency.target
        return stand_in if declaration_of(stand_in) is not None else None

    def _check(self, graph: Graph) -> None:
        for target, error in graph.unresolved.items():
            raise LoadError(f"{error}; to run without it, pass replace={{{target!r}: Fake}}") from error
        for node in graph.nodes.values():
            for url in node.urls.values():
                self._stand_ins.check_url(node.name, url)
        self._stand_ins.check_used({node.name for node in graph.nodes.values()})

    async def _make(self, node: Node) -> Member:
        member = self._member(node.name, dict(node.declaration.config), apis_of(node.cls))
        instance = unborn(node.cls)
        for name, edge in node.edges.items():
            instance.__dict__[name] = self._bound(edge, member.live.side)
        bind_urls(instance, self._urls)
        member.live.attach(instance)
        member.live.warm()
        await member.live.threads.run(instance.__init__)
        await self._process.open(member)
        return member

    def _urls(self, service: str) -> Urls:
        given = self._stand_ins.find(service)
        return Urls(service, "stopped") if given is None else Urls(service, "ready", [given] if given else [])

    def _bound(self, edge: GraphEdge, side: AsyncioSide | None = None) -> Proxy:
        dependency = edge.dependency
        callee = self._members[target_text(dependency.target)]
        named = Edge(
            f"self.{dependency.name}",
            callee.caller,
            self._process.portal,
            timeout=dependency.timeout,
            retries=dependency.retries,
            schemas=callee.schemas,
            fallback=self._bound(edge.fallback) if edge.fallback else None,  # called from trio
            side=side,
        )
        return Proxy(named, _apis_as_named(dependency.target, callee))

    async def _stand_in(self, target: type | str) -> Member:
        declaration = declaration_of(target)
        name = declaration.name if declaration else target_text(target).partition(":")[2]
        member = self._member(name, {}, apis_of(target) if isinstance(target, type) else {})
        value = self._stand_ins.find(target)
        if isinstance(value, type):
            value = await member.live.threads.run(value)
        member.live.instance = value
        for found in apis_of_stand_in(value, target, name):
            member.live.add(*found)
        member.live.warm()
        await self._process.open(member)
        return member

    def _member(self, name: str, config: dict[str, Any], apis: Mapping[str, ApiDeclaration]) -> Member:
        traffic = config.get("traffic", {})
        most = max((api.batching.max_batch_size for api in apis.values() if api.batching), default=0)
        try:
            return self._process.add(
                name,
                timeout=parse_duration(traffic.get("timeout", _TRAFFIC.timeout)),
                max_concurrency=traffic.get("max_concurrency", default_concurrency(most)),
                max_queue=traffic.get("max_queue", _TRAFFIC.max_queue),
                threads=int(config.get("threads", 1)),
                async_backend=config.get("async_backend", "trio"),
            )
        except ValueError as error:
            raise LoadError(str(error)) from None


_TRAFFIC = Traffic()


def _apis_as_named(target: type | str, callee: Member) -> Mapping[str, Mapping[str, Any]]:
    """Return the apis in the colours that the caller's code was written for, whatever stands in."""
    if isinstance(target, type):
        return {name: asdict(api) for name, api in apis_of(target).items()}
    return callee.apis
