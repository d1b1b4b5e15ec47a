"""Who says something in a configuration (a file, a variable, a flag, a decorator), and how its places are named."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from svcd.config import schema
from svcd.config.envs import Env
from svcd.config.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from svcd.config import positions
    from svcd.config.schema import Key, KeyPath, Table


def dotted(path: Sequence[str | int]) -> str:
    """Write a path as TOML would, with quotes where a part needs them."""
    return ".".join(str(part) if re.fullmatch(r"[A-Za-z0-9_-]+", str(part)) else f'"{part}"' for part in path)


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Return line and column of an offset, both counted from 1."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


@dataclass(eq=False)
class TomlFile:
    """A file that tomli has accepted."""

    layer: ClassVar[str] = "file"
    shown: str
    """Its name as the user gave it."""
    base: Path
    """The folder at which its relative paths start."""
    text: str

    @cached_property
    def places(self) -> dict[positions.Path, positions.Place]:
        """Where everything stands; worked out when someone asks, since most runs have no reason to."""
        from svcd.config.positions import scan  # noqa: PLC0415 - see above

        return scan(self.text)

    def where(self, path: KeyPath) -> str:
        """Name the place that sets `path`, as in `svcd.toml:14`."""
        place = self.places.get(path)
        return f"{self.shown}:{line_and_column(self.text, place.key[0])[0]}" if place else self.shown

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None, *, on_key: bool = False) -> Problem:
        """Return a problem with the value at `path`, or with its key."""
        said: dict[str, Any] = {"file": self.shown, "key": dotted(path), "message": message, "suggestion": suggestion}
        place = self.places.get(path)
        if place is None:  # a key that the file lacks
            return Problem(**said)
        start, end = place.key if on_key else place.value
        line, column = line_and_column(self.text, start)
        source = self._quotable(line)
        width = min(end - start, len(source) - column + 1)
        return Problem(**said, line=line, column=column, source=source, width=max(1, width))

    def _quotable(self, number: int) -> str:
        """Return a line in which every value that may be a secret is blotted out."""
        lines = self.text.split("\n")
        begin = sum(len(line) + 1 for line in lines[: number - 1])
        characters = list(lines[number - 1].rstrip("\r"))
        for path, place in self.places.items():
            is_value = place.value != place.key or isinstance(path[-1], int)
            if is_value and _may_be_secret(path, self.text[place.value[0]]):
                start, end = (max(0, offset - begin) for offset in place.value)
                characters[start:end] = "•" * len(characters[start:end])
        return "".join(characters)


def _may_be_secret(path: positions.Path, first: str) -> bool:
    """Judge a value by its key and first character: those of envs may be, and strings of keys that are not known."""
    if first in "[{":
        return False  # what is in it is judged by itself
    if path[-1] == "url" and "services" in path:
        return True  # it may have a password in it
    if "envs" in path:
        form = path[path.index("envs") + 2 :]
        return not form or form[0] not in _PLAIN_FORMS
    node: Table | Key | None = schema.ROOT
    for name in path:
        if isinstance(node, schema.Key):
            return False  # an element of a known key's array
        node = node.child(str(name)) if isinstance(node, schema.Table) else None
    return node is None and first in "\"'"


_PLAIN_FORMS = {*Env.forms, "secret"} - {"value"}
"""The keys of a variable's table whose values say where it comes from, and not what it is."""


@dataclass(eq=False)
class DotenvFile:
    """An `env_file`."""

    layer: ClassVar[str] = "env_file"
    shown: str
    base: Path
    lines: dict[str, int]
    """By variable."""

    def where(self, path: KeyPath) -> str:
        """Name the line of the variable, as in `classifier.env:3`."""
        return f"{self.shown}:{self.lines[path[-1]]}"

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None, *, on_key: bool = False) -> Problem:
        """Return a problem with a variable; its line is not quoted, since all in such a file may be secret."""
        del on_key
        line = self.lines[path[-1]]
        return Problem(file=self.shown, line=line, key=dotted(path), message=message, suggestion=suggestion)


@dataclass(eq=False)
class Remark:
    """A source without lines: one environment variable, one `--set`, one `svcd scale`."""

    shown: str
    base: Path
    layer: str

    def where(self, path: KeyPath) -> str:
        del path  # it speaks of one only
        return self.shown

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None, *, on_key: bool = False) -> Problem:
        del on_key  # there is no line to point into
        return Problem(file=self.shown, key=dotted(path), message=message, suggestion=suggestion)


@dataclass(eq=False)
class Decorator:
    """`@svcd.service(...)` of one class."""

    layer: ClassVar[str] = "decorator"
    shown: str
    """The Python file."""
    line: int | None
    base: Path

    def where(self, path: KeyPath) -> str:
        del path  # the discovery report has one line for the whole class
        return f"decorator {self.shown}:{self.line}" if self.line else f"decorator {self.shown}"

    def problem(self, path: KeyPath, message: str, suggestion: str | None = None, *, on_key: bool = False) -> Problem:
        del on_key
        return Problem(file=self.shown, line=self.line, key=dotted(path), message=message, suggestion=suggestion)


Source = TomlFile | DotenvFile | Remark | Decorator
"""Whoever says something: all have `layer`, `base`, `where` and `problem`."""
