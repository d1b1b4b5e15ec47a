"""The kinds of value that the HTTP settings have: lists of origins and names, and switches."""

from __future__ import annotations

import re
from typing import Any

from svcd.config.kinds import Kind, Wrong, found, toml_text

ORIGIN = r"\*|[a-z][a-z0-9+.-]*://[^\s/,;\"]+"
"""What a browser sends as `Origin`, or all of them."""
TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - a token of RFC 9110, the form of methods and header names


class Texts(Kind):
    """An array of strings, each of which `pattern` matches whole."""

    def __init__(self, what: str, pattern: str) -> None:
        self.what = what
        self.pattern = pattern

    def label(self) -> str:
        return f"array of {self.what}"

    def read(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise Wrong(f"expected an {self.label()}; {found(value)}")
        for text in value:
            if not isinstance(text, str) or re.fullmatch(self.pattern, text) is None:
                raise Wrong(f"expected an {self.label()}; {found(text)} in it", self._meant(text))
        return tuple(value)

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(map(toml_text, value))}]"

    def json_schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"type": "string", "pattern": f"^(?:{self.pattern})$"}}

    def _meant(self, text: object) -> str | None:
        """Undo the usual slip: a page's address for its origin."""
        origin = re.match(r"[a-z]+://[^\s/]+(?=/)", text) if isinstance(text, str) and "://" in self.pattern else None
        return toml_text(origin[0]) if origin else None


class Flag(Kind):
    """Yes or no."""

    def label(self) -> str:
        return "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Wrong(f"expected true or false; {found(value)}")
        return value

    def write(self, value: bool) -> str:
        return str(value).lower()

    def json_schema(self) -> dict[str, Any]:
        return {"type": "boolean"}
