"""One layer of configuration: who says what, checked against the schema, with the place of every value.

A layer is flat: a mapping of key paths to entries. Merging layers is therefore nothing but taking, for each path, the
entry of the highest layer that has one; the entries below it stay known, which `svcd config --explain` shows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from svcd.config import schema
from svcd.config.kinds import Wrong, found
from svcd.config.origins import dotted
from svcd.config.problems import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from svcd.config.origins import Source
    from svcd.config.problems import Problem
    from svcd.config.schema import Key, KeyPath, Table


def is_of_service(path: KeyPath, key: str) -> bool:
    """Whether a path is that of a service's key (and not, say, of a variable with the key's name)."""
    return path[0] == "services" and path[2:] == (key,)


@dataclass(slots=True, eq=False)
class Entry:
    """A value that one layer gives to one key."""

    value: Any
    source: Source
    said_as: KeyPath
    """The path as it stands in the source, where a profile comes before it."""

    @property
    def where(self) -> str:
        """Name the place that set it."""
        return self.source.where(self.said_as)

    def problem(self, message: str, suggestion: str | None = None, *, on_key: bool = False) -> Problem:
        """Return a problem with this value."""
        return self.source.problem(self.said_as, message, suggestion, on_key=on_key)


@dataclass(slots=True, eq=False)
class Layer:
    """What one source says."""

    name: str
    """`decorator`, `instance type`, `env_file`, `file`, `profile`, `environment`, `--set` or `svcd scale`."""
    entries: dict[KeyPath, Entry] = field(default_factory=dict)
    names: dict[KeyPath, Entry] = field(default_factory=dict)
    """The tables under chosen names (services, instance types, profiles), empty ones too; their values are None."""
    profile: str = ""
    """Which profile it is, for a layer of that name."""

    def profile_part(self, profile: str) -> Layer:
        """Return what `[profiles.P]` says, as a layer of its own."""
        prefix = ("profiles", profile)
        entries = {path[2:]: entry for path, entry in self.entries.items() if path[:2] == prefix}
        names = {path[2:]: entry for path, entry in self.names.items() if path[:2] == prefix and path != prefix}
        return Layer("profile", entries, names, profile)

    def base_part(self) -> Layer:
        """Return the layer less all profiles."""
        entries = {path: entry for path, entry in self.entries.items() if path[0] != "profiles"}
        names = {path: entry for path, entry in self.names.items() if path[0] != "profiles"}
        return Layer(self.name, entries, names)

    def spelled(self, names: Mapping[str, str]) -> Layer:
        """Return the layer with services named as `names` spells them; its keys are case-folded."""

        def spell(path: KeyPath) -> KeyPath:
            is_service = path[0] == "services" and len(path) > 1
            return (path[0], names.get(path[1].casefold(), path[1]), *path[2:]) if is_service else path

        entries = {spell(path): entry for path, entry in self.entries.items()}
        return Layer(self.name, entries, {spell(path): entry for path, entry in self.names.items()}, self.profile)


Stack = dict["KeyPath", "list[Entry]"]
"""For each path, the entries of all layers that have it, lowest first; the last one wins."""


def merge(layers: Iterable[Layer]) -> Stack:
    """Put layers, lowest first, on one another."""
    stack: Stack = {}
    for layer in layers:
        for path, entry in layer.entries.items():
            stack.setdefault(path, []).append(entry)
    return stack


def spelled(layers: Iterable[Layer], names: Iterable[str]) -> list[Layer]:
    """Spell services in the environment layer as `names` does: variables are all upper case by custom."""
    by_folded = {name.casefold(): name for name in names}
    return [layer.spelled(by_folded) if layer.name == "environment" else layer for layer in layers]


class Reader:
    """Checks nested tables against the schema and turns them into layers; problems gather in `problems`."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems

    def read(self, name: str, tree: Mapping[str, Any], source: Source, *, at: KeyPath = ()) -> Layer:
        """Return the layer that `tree`, standing at the path `at`, makes."""
        layer = Layer(name)
        node = schema.find(at)
        if isinstance(node, schema.Table):
            self._table(layer, tree, node, at, source)
        return layer

    def _table(self, layer: Layer, tree: Mapping[str, Any], table: Table, at: KeyPath, source: Source) -> None:
        for name, value in tree.items():
            path = (*at, name)
            node = table.child(name)
            if node is None:
                self.problems.append(self._unknown(path, value, table, source))
            elif isinstance(node, schema.Key):
                self._key(layer, value, node, path, source)
            elif isinstance(value, dict):
                if table.named is not None:
                    layer.names[path] = Entry(None, source, path)
                self._table(layer, value, node, path, source)
            else:
                self.problems.append(source.problem(path, self._no_table(path, table, value)))

    def _key(self, layer: Layer, value: object, key: Key, path: KeyPath, source: Source) -> None:
        try:
            layer.entries[path] = Entry(key.kind.read(value), source, path)
        except Wrong as wrong:
            inner = (wrong.inner,) if wrong.inner else ()
            problem = source.problem((*path, *inner), wrong.message, wrong.suggestion, on_key=bool(inner))
            self.problems.append(problem)
            self.problems.extend(source.problem(path, message) for message in wrong.also)

    @staticmethod
    def _unknown(path: KeyPath, value: object, table: Table, source: Source) -> Problem:
        words = table.words()
        name, suggestion, hint = path[-1], None, ""
        if path[0] == "instance_types" and isinstance(value, dict):
            hint = f'; a name with a dot needs quotes: [instance_types."{".".join(path[1:])}"]'
        elif name not in words and (home := _HOMES.get(name)):
            hint = f"; it belongs under {home}"
        else:
            suggestion = words.get(nearest(name, words) or "")
        if not (suggestion or hint):
            hint = f"; known here: {', '.join(sorted(table.children))}"
        return source.problem(path, f"unknown key{hint}", suggestion, on_key=True)

    @staticmethod
    def _no_table(path: KeyPath, table: Table, value: object) -> str:
        if path[-1] == "envs":  # what was found is not repeated: it may hold a secret
            return 'expected a table of variables, such as { NAME = "text" }'
        if table.named is None:
            return f"expected a table; {found(value)}"
        return f"expected a table: the keys of a {_NAMED[path[-2]]} go under [{dotted(path[:-1])}.NAME]"


_HOMES = dict.fromkeys(schema.SERVICE.children, "[services.NAME]") | {
    name: "[app]" for name in schema.APP.children if name not in schema.SERVICE.children
}
"""Where each key belongs, for one that stands in another table."""

_NAMED = {"services": "service", "instance_types": "shape", "profiles": "profile"}
