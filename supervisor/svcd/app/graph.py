"""The dependency graph: walked from entry classes, one node per service, dependencies before those who need them.

Names are unique without regard to case and there is no cycle, or building it fails with the place and the path.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svcd.app.declare import apis_of, declaration_of, dependencies_of
from svcd.app.load import ImportFailedError, LoadError, load_class
from svcd.app.urls import urls_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from svcd.app.declare import Dependency, ServiceDeclaration
    from svcd.app.urls import UrlDependency

RESERVED = frozenset(("ingress", "daemon", "keeper"))
"""Names that svcd's own processes have, in lower case."""


class GraphError(LoadError):
    """The declarations do not make a graph: a cycle, or a name taken twice."""


@dataclass(slots=True)
class Node:
    """One service of the graph."""

    cls: type
    declaration: ServiceDeclaration
    edges: dict[str, Edge] = field(default_factory=dict)
    urls: dict[str, UrlDependency] = field(default_factory=dict)
    """Its dependencies on programs, which only the configuration knows."""

    @property
    def name(self) -> str:
        return self.declaration.name

    @property
    def target(self) -> str:
        return f"{self.cls.__module__}:{self.cls.__qualname__}"


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency of a node; `node` is None where the callee cannot be imported here, or was left out."""

    dependency: Dependency[object]
    node: Node | None
    fallback: Edge | None = None
    """To the service that is called instead."""

    @property
    def all(self) -> Iterator[Edge]:
        """This edge, and that of its fallback."""
        yield self
        if self.fallback is not None:
            yield self.fallback


@dataclass(slots=True)
class Graph:
    """All services that were reached, in an order in which they can start."""

    entries: list[Node] = field(default_factory=list)
    nodes: dict[str, Node] = field(default_factory=dict)
    """By name; a service comes after all it depends on."""
    unresolved: dict[str, ImportFailedError] = field(default_factory=dict)
    """Targets given as text whose modules are not installed here, with the reason."""


def build(
    entries: Iterable[type | str],
    *,
    resolve: Callable[[Dependency[object]], type | str | None] = lambda it: it.target,
    asked_by: str = "",
) -> Graph:
    """Walk from the entries to everything they depend on.

    Args:
        entries: Service classes or `module:Class`.
        resolve: Gives what to walk for a dependency: a class, `module:Class`, or None to leave it out of the walk.
        asked_by: Who names the entries, see `load_class`.

    Raises:
        GraphError: A cycle (the message shows the path) or a name taken twice.
        LoadError: A target that is not there, or is no service.
        ImportFailedError: An entry cannot be imported, or the module of a dependency raised.
    """
    walk = _Walk(resolve)
    for entry in entries:
        cls, _ = load_class(entry, asked_by=asked_by) if isinstance(entry, str) else _declared(entry, asked_by)
        walk.graph.entries.append(walk.visit(cls, ()))
    return walk.graph


class _Walk:
    def __init__(self, resolve: Callable[[Dependency[object]], type | str | None]) -> None:
        self.graph = Graph()
        self._resolve = resolve
        self._by_class: dict[type, Node] = {}
        self._by_lower_name: dict[str, Node] = {}

    def visit(self, cls: type, path: tuple[type, ...]) -> Node:
        if cls in path:
            circle = [_declared(step, "")[1] for step in path[path.index(cls) :]]
            names = " -> ".join(each.name for each in (*circle, circle[0]))
            places = ", ".join(each.place for each in circle)
            raise GraphError(f"services depend on each other in a circle: {names} ({places})")
        if cls in self._by_class:
            return self._by_class[cls]
        node = Node(cls, _declared(cls, "")[1], urls=urls_of(cls))
        self._take_name(node)
        for name, dependency in dependencies_of(cls).items():
            node.edges[name] = self._edge(node, dependency, (*path, cls))
        self._by_class[cls] = node
        self.graph.nodes[node.name] = node
        return node

    def _edge(self, node: Node, dependency: Dependency[object], path: tuple[type, ...]) -> Edge:
        callee = self._callee(node, dependency)
        found = self.visit(callee, path) if callee is not None else None
        if dependency.fallback is None:
            return Edge(dependency, found)
        fallback = self._edge(node, dependency.fallback, path)
        if found is not None and fallback.node is not None:
            _check_fallback(node, dependency, found, fallback.node)
        return Edge(dependency, found, fallback)

    def _take_name(self, node: Node) -> None:
        lower = node.name.lower()
        if lower in RESERVED:
            raise GraphError(f"{node.declaration.place}: the name {node.name!r} is svcd's own; give name= another")
        other = self._by_lower_name.setdefault(lower, node)
        if other.cls is not node.cls:
            raise GraphError(
                f"{node.declaration.place}: the name {node.name!r} is taken by {other.target}"
                f" ({other.declaration.place}); names are unique without regard to case, give name= another"
            )

    def _callee(self, node: Node, dependency: Dependency[object]) -> type | None:
        asked_by = f" ({node.name}.{dependency.name}, {node.declaration.place})"
        target = self._resolve(dependency)
        if target is None:
            return None
        if isinstance(target, type):
            return _declared(target, asked_by)[0]
        try:
            return load_class(target, asked_by=asked_by)[0]
        except ImportFailedError as error:
            if not error.is_missing:
                raise
            self.graph.unresolved[target] = error
            return None


def _check_fallback(node: Node, dependency: Dependency[object], callee: Node, fallback: Node) -> None:
    there = apis_of(fallback.cls)
    for name, api in apis_of(callee.cls).items():
        other = there.get(name)
        if other is None or other.is_stream != api.is_stream:
            what = "lacks the api" if other is None else "streams, or does not, unlike"
            raise GraphError(
                f"{node.declaration.place}: {node.name}.{dependency.name}: the fallback {fallback.name}"
                f" {what} {callee.name}.{name}"
            )


def _declared(cls: type, asked_by: str) -> tuple[type, ServiceDeclaration]:
    declaration = declaration_of(cls)
    if declaration is None:
        raise LoadError(
            f"{cls.__module__}:{cls.__qualname__}{asked_by} is no service; put @svcd.service above the class"
        )
    return cls, declaration
