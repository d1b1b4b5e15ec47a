"""Did you mean: the nearest of the words that would have been right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the wrong word and what to write instead, as the end of an error message."""
    from difflib import get_close_matches  # noqa: PLC0415  (only a mistake needs it)

    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.5)
    if close:
        return f"{word!r}; did you mean {close[0]!r}?"
    return f"{word!r}; known: {', '.join(choices) or 'none'}"
