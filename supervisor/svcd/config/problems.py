"""What is wrong with a configuration, and how it is told: place, key, what is wrong, the next step, the quoted line.

Problems are collected, not raised one by one: an operator sees all of them before anything is started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong. `str()` is its whole block of text."""

    message: str
    file: str | None = None
    """The file as the user named it, or what else said so: `--set app.http=x`."""
    line: int | None = None
    """Counts from 1, as does `column` (in characters)."""
    column: int | None = None
    key: str | None = None
    """Dotted, from the root of the file."""
    suggestion: str | None = None
    """The nearest right word."""
    source: str | None = None
    """The line of the file that holds the place."""
    width: int = 1
    """How many characters of it are meant."""

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        meant = f"; did you mean {self.suggestion}?" if self.suggestion else ""
        key = None if self.key and place.endswith(f" {self.key}") else self.key  # a flag names the key itself
        head = ": ".join(part for part in (place, key, self.message) if part) + meant
        return head if self.source is None else f"{head}\n{self._quote(self.source)}"

    def _quote(self, source: str) -> str:
        margin = f"{self.line or '':>5} | "
        start = (self.column or 1) - 1
        before, meant = source[:start], source[start : start + self.width]
        # Tabs stay tabs, so that the caret stands under its place whatever a tab is on that terminal.
        indent = "".join("\t" if character == "\t" else " " * _cells(character) for character in before)
        carets = "^" * max(1, sum(map(_cells, meant)))
        return f"{margin}{source}\n{'| ':>{len(margin)}}{indent}{carets}"


def _cells(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if character.isascii():
        return 1
    import unicodedata  # noqa: PLC0415 - only an error in a line beyond ASCII needs it

    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


class ConfigError(Exception):
    """A configuration that cannot be used; `str()` is the whole readable report."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = _in_reading_order(list(dict.fromkeys(problems)))  # two services may name the same wrong file
        super().__init__(self.problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def _in_reading_order(problems: list[Problem]) -> list[Problem]:
    """Sort by place within each file; files stay in the order in which they come up."""
    files = list(dict.fromkeys(problem.file for problem in problems))
    return sorted(problems, key=lambda it: (files.index(it.file), it.line is None, it.line or 0, it.column or 0))


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that `word` was most likely meant to be, or None."""
    import difflib  # noqa: PLC0415 - only an error needs it, and it costs start-up time

    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.65)
    return by_folded[found[0]] if found else None
