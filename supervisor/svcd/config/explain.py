"""Says for every key what is in force and where it comes from: each layer's value, its place, and which one wins.

It reads no secret: a variable that comes from a file, a credential or the host is told by its form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.check import check_app, check_service
from svcd.config.commands import with_commands
from svcd.config.envs import written
from svcd.config.load import safe_name
from svcd.config.origins import dotted
from svcd.config.resolve import stack_of
from svcd.values.secrets import NOT_SHOWN, looks_secret
from svcd.values.specs import default_concurrency

if TYPE_CHECKING:
    from collections.abc import Iterator

    from svcd.config.layers import Entry
    from svcd.config.load import Documents
    from svcd.config.problems import Problem
    from svcd.config.schema import Key, KeyPath


@dataclass(frozen=True, slots=True)
class Said:
    """What one layer says."""

    value: str
    """As it would be written in TOML; a secret is not shown."""
    where: str
    """`default`, `svcd.toml:14`, `decorator service.py:12`, `--set KEY` or the variable's name."""
    layer: str
    """`default`, `decorator`, `file`, `profile prod`, `instance type gpu.one`, `env_file`, `environment`, `--set` or
    `svcd scale`."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One effective value."""

    path: KeyPath
    layers: tuple[Said, ...]
    """Lowest first."""

    @property
    def key(self) -> str:
        """The path as TOML writes it."""
        return dotted(self.path)

    @property
    def winner(self) -> Said:
        """The one that is in force."""
        return self.layers[-1]

    @property
    def is_secret(self) -> bool:
        """Whether the value in force is not shown."""
        return self.winner.value == NOT_SHOWN


def explain(documents: Documents, graph: dict[str, Any], default_python: str = "") -> tuple[Explained, ...]:
    """Explain every key of the app and of the graph's services that has a value."""
    return Explanation(documents, graph, default_python).all()


class Explanation:
    """One app's configuration, explained; what is wrong with it is in `problems`, sources of variables left out."""

    def __init__(self, documents: Documents, graph: dict[str, Any], default_python: str = "") -> None:
        self.problems: list[Problem] = []
        self._graph = graph = with_commands(documents, graph)
        self._stack = stack_of(documents, graph, self.problems)
        self._computed: dict[KeyPath, Any] = {("app", "name"): safe_name(documents.root.name)}
        if default_python:
            self._computed["app", "python"] = default_python
        for name, report in graph["services"].items():
            self._computed["services", name, "version"] = report.get("version") or ""
            largest = max((api.get("max_batch_size", 0) for api in report.get("apis", ())), default=0)
            self._computed["services", name, "traffic", "max_concurrency"] = default_concurrency(largest)
        self.problems += check_app(documents, graph, self._stack)
        for name in graph["services"]:
            self.problems += check_service(self._stack, name)

    def all(self) -> tuple[Explained, ...]:
        """Return every key that has a value, table by table, each in the schema's order."""
        found = [self._explained(key, path) for key in schema.KEYS for path in self._paths(key)]
        tables: dict[KeyPath, list[Explained]] = {("app",): []}
        for each in sorted(found, key=lambda it: it.path[0] == "services"):
            tables.setdefault(table_of(each.path), []).append(each)
        return tuple(each for table in tables.values() for each in table if each.layers)

    def _paths(self, key: Key) -> list[KeyPath]:
        """Every path that a key of the schema stands for in this app."""
        parts = tuple(key.path.split("."))
        if "*" not in parts:
            return [parts]
        if parts[0] == "services" and parts[-1] != "*":
            kinds = {name: "command" if it.get("command") else "class" for name, it in self._graph["services"].items()}
            return [(parts[0], name, *parts[2:]) for name, kind in kinds.items() if key.of in {"", kind}]
        return [path for path in self._stack if len(path) == len(parts) and schema.find(path) is key]

    def _explained(self, key: Key, path: KeyPath) -> Explained:
        said = [Said(_value(key, path, entry), entry.where, _layer(path, entry)) for entry in self._stack.get(path, ())]
        return Explained(path, (*self._default(key, path), *said) if not (said and key.follows) else tuple(said))

    def _default(self, key: Key, path: KeyPath) -> Iterator[Said]:
        if key.default is not None:
            yield Said(key.kind.write(key.default), "default", "default")
        elif self._computed.get(path):
            yield Said(key.kind.write(self._computed[path]), key.default_text, "default")
        elif key.follows:
            other = tuple(
                name if part == "*" else part
                for part, name in zip(key.follows.split("."), (*path, *path), strict=False)
            )
            followed = self._explained(schema.key_at(other), other)
            if followed.layers:
                yield Said(followed.winner.value, f"as {followed.key}", "default")


def table_of(path: KeyPath) -> KeyPath:
    """Return the part of a path that is the header of its table; the rest are dotted keys in it."""
    return path[:1] if path[0] == "app" else path[:2]


def _value(key: Key, path: KeyPath, entry: Entry) -> str:
    if path[2:] == ("url",) and looks_secret("url", entry.value):  # it has a password in it
        return NOT_SHOWN
    return written(path[-1], entry.value) if path[-2] == "envs" else key.kind.write(entry.value)


def _layer(path: KeyPath, entry: Entry) -> str:
    first, *rest = entry.said_as
    if first == "profiles":
        return f"profile {rest[0]}"
    if first == "instance_types" and path[0] == "services":
        return f"instance type {rest[0]}"
    return entry.source.layer
