"""Where each key and value of a TOML document stands, which tomli does not say.

The scanner reads only documents that tomli has accepted: it looks for the ends of keys and values, and judges nothing.
It is tested against tomli: the same paths, and each slice it names parses to the value found there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import tomli

Path = tuple[str | int, ...]
"""Keys from the root of a document; an index for each element of an array."""
Span = tuple[int, int]
"""Offsets of the first character and of the one after the last."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key was first named, and the value it was given.

    A table that is named by a header or by the front of a dotted key has no text of its own: its value is its key.
    """

    key: Span
    value: Span


def scan(text: str) -> dict[Path, Place]:
    """Return the place of every key, table and array element of a valid document."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.places


def split_key(text: str) -> tuple[tuple[str, ...], int] | None:
    """Read the dotted key that `text` begins with; return its parts and where it ends, or None when there is none."""
    scanner = _Scanner(text)
    try:
        parts = scanner.key()
    except ValueError:
        return None
    return tuple(name for name, _ in parts), scanner.at


_SPACE = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = {
    # Up to two quotes may stand right before the closing three.
    '"""': re.compile(r'"""(?:\\.|[^\\])*?"""(?:"{0,2})', re.DOTALL),
    "'''": re.compile(r"'''.*?'''(?:'{0,2})", re.DOTALL),
    '"': re.compile(r'"(?:\\.|[^"\\])*"'),
    "'": re.compile(r"'[^']*'"),
}
# A date and its time may be parted by a space, so a scalar ends only where none can go on.
_SCALAR = re.compile(r"[^,\]}#\r\n]*[^,\]}#\r\n \t]")


class _Scanner:
    """A cursor over the text; each method moves it past what it is named after."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.places: dict[Path, Place] = {}
        self._lengths: dict[Path, int] = {}  # of the arrays of tables met so far

    def document(self) -> None:
        table: Path = ()
        self._skip(_GAP)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_GAP)

    def key(self) -> list[tuple[str, Span]]:
        parts = []
        while True:
            self._skip(_SPACE)
            start = self.at
            quote = self._quote()
            if quote in ('"', "'"):
                self._skip(_STRINGS[quote])
                raw = self.text[start : self.at]
                name = tomli.loads(f"k = {raw}")["k"] if "\\" in raw else raw[1:-1]
            else:
                self._skip(_BARE_KEY)
                name = self.text[start : self.at]
            parts.append((name, (start, self.at)))
            end = self.at
            self._skip(_SPACE)
            if not self.text.startswith(".", self.at):
                self.at = end
                return parts
            self.at += 1

    def _header(self) -> Path:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path: Path = ()
        parts = self.key()
        for index, (name, span) in enumerate(parts):
            path += (name,)
            self._note(path, span)
            if is_array and index == len(parts) - 1:
                self._lengths[path] = self._lengths.get(path, 0) + 1
            if path in self._lengths:
                path += (self._lengths[path] - 1,)
                self._note(path, span)
        self._skip(_SPACE)
        self.at += 2 if is_array else 1
        return path

    def _pair(self, table: Path) -> None:
        path = table
        for name, span in self.key():
            path += (name,)
            self._note(path, span)
        self._skip(_SPACE)
        self.at += 1  # the equals sign
        self._skip(_SPACE)
        start = self.at
        self._value(path)
        self.places[path] = Place(span, (start, self.at))

    def _value(self, path: Path) -> None:
        quote = self._quote()
        if quote:
            self._skip(_STRINGS[quote])
        elif self.text[self.at] == "[":
            self._array(path)
        elif self.text[self.at] == "{":
            self._inline_table(path)
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self.at += 1
        self._skip(_GAP)
        index = 0
        while self.text[self.at] != "]":
            start = self.at
            self._value((*path, index))
            span = (start, self.at)
            self.places[*path, index] = Place(span, span)
            index += 1
            self._comma()
        self.at += 1

    def _inline_table(self, path: Path) -> None:
        self.at += 1
        self._skip(_GAP)  # newlines and comments too: TOML 1.1 allows them
        while self.text[self.at] != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        self._skip(_GAP)
        if self.text[self.at] == ",":
            self.at += 1
            self._skip(_GAP)

    def _quote(self) -> str:
        return next((quote for quote in _STRINGS if self.text.startswith(quote, self.at)), "")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError("the text is not TOML")
        self.at = found.end()

    def _note(self, path: Path, span: Span) -> None:
        self.places.setdefault(path, Place(span, span))
