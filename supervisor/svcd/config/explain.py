"""Says for every key that has a value where it comes from: each layer's value, its place, and which one wins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.envs import EnvSource, FromFile, FromHost, Unset
from svcd.config.origins import dotted
from svcd.config.resolve import stack_of

if TYPE_CHECKING:
    from svcd.config.layers import Stack
    from svcd.config.load import Documents
    from svcd.config.schema import Key, KeyPath

_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CRED", "AUTH")


@dataclass(frozen=True, slots=True)
class Said:
    """What one layer says."""

    value: str
    """As it would be written in TOML; a secret is not shown."""
    where: str
    """`default`, `svcd.toml:14`, `decorator service.py:12`, `--set KEY` or the variable's name."""


@dataclass(frozen=True, slots=True)
class Explained:
    """One effective value."""

    key: str
    layers: tuple[Said, ...]
    """Lowest first."""

    @property
    def winner(self) -> Said:
        """The one that is in force."""
        return self.layers[-1]


def explain(documents: Documents, graph: dict[str, Any]) -> tuple[Explained, ...]:
    """Explain every key of the app and of the graph's services that has a value, in the schema's order."""
    stack = stack_of(documents, graph, [])
    explained = []
    for key in schema.KEYS:
        for path in _paths(key, stack, list(graph["services"])):
            default = [Said(_written(key, path, key.default), "default")] if key.default is not None else []
            entries = [Said(_written(key, path, entry.value), entry.where) for entry in stack.get(path, ())]
            if default or entries:
                explained.append(Explained(dotted(path), (*default, *entries)))
    return tuple(explained)


def _paths(key: Key, stack: Stack, services: list[str]) -> list[KeyPath]:
    """Every path that a key of the schema stands for in this app."""
    parts = tuple(key.path.split("."))
    if "*" not in parts:
        return [parts]
    if parts[0] == "services" and parts[-1] != "*":
        return [(parts[0], name, *parts[2:]) for name in services]
    return [path for path in stack if len(path) == len(parts) and schema.find(path) is key]


def _written(key: Key, path: KeyPath, value: Any) -> str:
    return _env(path[-1], value) if path[-2] == "envs" else key.kind.write(value)


def _env(name: str, value: EnvSource) -> str:
    match value:
        case FromHost():
            return "{ from_host = true }"
        case Unset():
            return "{ unset = true }"
        case FromFile(path):
            return f'{{ file = "{path}" }}'
        case literal:
            is_secret = any(word in name.upper() for word in _SECRET_WORDS)
            return "(not shown)" if is_secret else f'"{literal}"'
