"""The kinds of value a key can have: how each is read, and what is said when it is not one.

`read` returns the value in the form that specs use (seconds, bytes, a pair of host and port) or raises Wrong.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from svcd.values.units import (
    DURATION_PATTERN,
    LARGEST,
    LONGEST,
    SIZE_PATTERN,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


class Wrong(ValueError):  # noqa: N818 - it is caught where it is raised, and turned into a Problem
    """A value that its key can't have."""

    def __init__(
        self, message: str, suggestion: str | None = None, inner: str | None = None, also: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion
        self.inner = inner
        """The key inside the value's inline table that is at fault."""
        self.also = also
        """What else is wrong with the value, each a message of its own."""


def found(value: object) -> str:
    """Name a value's type and, where it is short, the value."""
    match value:
        case bool():
            what = str(value).lower()
        case int() if abs(value) >= 10**18:
            what = "a very large number"  # Python refuses to write one of thousands of digits
        case int() | float():
            what = str(value)
        case str():
            what = f'"{value}"' if len(value) <= 60 else "a longer text"
        case dict() | list():
            what = "a table" if isinstance(value, dict) else "an array"
        case _:
            what = f"a {type(value).__name__}"
    return f"found {what}"


def toml_text(text: str) -> str:
    """Return a string as TOML writes it; what no TOML can hold becomes a question mark."""
    import json  # noqa: PLC0415 - only what shows a configuration needs it, and a start does without

    return json.dumps(text.encode(errors="replace").decode(), ensure_ascii=False).replace("\x7f", "\\u007f")


class Kind(ABC):
    """How the values of a key are read and written."""

    textual: ClassVar[bool] = False
    """Whether `--set K=V` takes V as it stands when TOML would read it as something else than text."""

    @abstractmethod
    def label(self) -> str:
        """What the reference calls it."""

    @abstractmethod
    def read(self, value: object) -> Any:
        """Return the value as specs have it. Raises Wrong."""

    def write(self, value: Any) -> str:
        """Return the value as a user would write it in TOML."""
        return str(value) if isinstance(value, int) else toml_text(value)

    @abstractmethod
    def json_schema(self) -> dict[str, Any]:
        """Return what an editor is told of the values, as JSON Schema."""


class Whole(Kind):
    """A whole number of at least `minimum`, and small enough for all that counts with it."""

    most: ClassVar[int] = 10**9

    def __init__(self, minimum: int) -> None:
        self.minimum = minimum

    def label(self) -> str:
        return f"whole number, at least {self.minimum}"

    def read(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < self.minimum:
            raise Wrong(f"expected a {self.label()}; {found(value)}")
        if value > self.most:
            raise Wrong(f"expected a whole number, at most {self.most}; {found(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.minimum, "maximum": self.most}


class Duration(Kind):
    """A time span longer than zero, or zero where that has a meaning."""

    def __init__(self, *, zero: bool = False) -> None:
        self.zero = zero

    def label(self) -> str:
        return "duration"

    def read(self, value: object) -> float:
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise Wrong(f"{error}; {found(value)}") from None
        if seconds > LONGEST:
            raise Wrong(f"expected a duration of at most 100 years; {found(value)}")
        if seconds == 0 and not self.zero:
            raise Wrong(f"expected a duration longer than zero; {found(value)}")
        return seconds

    def write(self, value: float) -> str:
        return f'"{format_duration(value)}"'

    def json_schema(self) -> dict[str, Any]:
        least = {"minimum": 0} if self.zero else {"exclusiveMinimum": 0}
        return {"anyOf": [{"type": "number", **least}, {"type": "string", "pattern": f"^(?:{DURATION_PATTERN})$"}]}


class Size(Kind):
    """A number of bytes of at least 1, or of 0 where that has a meaning."""

    def __init__(self, *, zero: bool = False) -> None:
        self.zero = zero

    def label(self) -> str:
        return "size"

    def read(self, value: object) -> int:
        try:
            size = parse_size(value)
        except ValueError as error:
            raise Wrong(f"{error}; {found(value)}") from None
        if size > LARGEST:
            raise Wrong(f"expected a size below 8192Pi; {found(value)}")
        if size == 0 and not self.zero:
            raise Wrong(f"expected a size of at least one byte; {found(value)}")
        return size

    def write(self, value: int) -> str:
        return f'"{format_size(value)}"'

    def json_schema(self) -> dict[str, Any]:
        least = 0 if self.zero else 1
        return {
            "anyOf": [{"type": "integer", "minimum": least}, {"type": "string", "pattern": f"^(?:{SIZE_PATTERN})$"}]
        }


class Text(Kind):
    """A string that `pattern` matches whole."""

    textual = True

    def __init__(self, what: str = "non-empty string", pattern: str = r"[^\x00]+") -> None:
        self.what = what
        self.pattern = pattern

    def label(self) -> str:
        return self.what

    def read(self, value: object) -> str:
        if not isinstance(value, str) or re.fullmatch(self.pattern, value, re.DOTALL) is None:
            raise Wrong(f"expected a {self.label()}; {found(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(?:{self.pattern})$"}


class Choice(Kind):
    """One of a few words."""

    textual = True

    def __init__(self, *words: str) -> None:
        self.words = words

    def label(self) -> str:
        return " or ".join(toml_text(word) for word in self.words)

    def read(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            near = next((word for word in self.words if isinstance(value, str) and word == value.strip().lower()), None)
            raise Wrong(f"expected {self.label()}; {found(value)}", toml_text(near) if near else None)
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"enum": list(self.words)}


class Target(Kind):
    """Where a class is: `module:Class`."""

    textual = True
    _form: ClassVar[str] = r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*"

    def label(self) -> str:
        return "module:Class"

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise Wrong(f'expected "module:Class"; {found(value)}')
        if re.fullmatch(self._form, value) is None:
            raise Wrong(f'expected "module:Class"; {found(value)}', self._meant(value))
        return value

    def json_schema(self) -> dict[str, Any]:
        # Looser than `read`: \w is ASCII for editors, and Python's names are not.
        return {"type": "string", "pattern": r"^[^\s:.]+(\.[^\s:.]+)*:[^\s:.]+$"}

    @classmethod
    def _meant(cls, value: str) -> str | None:
        """Undo the usual slips: a path for the module, a dot for the colon."""
        module, _, name = value.partition(":")
        module = module.removesuffix(".py").removeprefix("./").replace("/", ".")
        if not name:
            module, _, name = module.rpartition(".")
        meant = f"{module}:{name}"
        return f'"{meant}"' if re.fullmatch(cls._form, meant) else None


class Address(Kind):
    """A TCP address: `host:port`, or a port alone, which means this machine only."""

    textual = True

    def label(self) -> str:
        return "host:port"

    default_host: ClassVar[str] = "127.0.0.1"
    _form: ClassVar[str] = r"(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]:|(?P<host>[\w.-]*):)?(?P<port>[0-9]{1,5})"

    def read(self, value: object) -> tuple[str, int]:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else value
        form = re.fullmatch(self._form, text) if isinstance(text, str) else None
        if form is None:
            meant = re.search(r"^https?://([^/]+)", text) if isinstance(text, str) else None
            raise Wrong(
                f'expected an address such as "127.0.0.1:3000", or a port; {found(value)}',
                f'"{meant[1]}"' if meant and re.fullmatch(self._form, meant[1]) else None,
            )
        if int(form["port"]) > 65535:
            raise Wrong(f"expected a port of at most 65535; {found(value)}")
        return form["six"] or form["host"] or self.default_host, int(form["port"])

    def write(self, value: tuple[str, int]) -> str:
        host, port = value
        return f'"[{host}]:{port}"' if ":" in host else f'"{host}:{port}"'

    def json_schema(self) -> dict[str, Any]:
        text = {"type": "string", "pattern": r"^((\[[0-9A-Fa-f:.%\w]+\]|[\w.-]*):)?[0-9]{1,5}$"}
        return {"anyOf": [text, {"type": "integer", "minimum": 0, "maximum": 65535}]}


class FilePath(Kind):
    """A path; a relative one starts at the folder of the file that says it."""

    textual = True

    def label(self) -> str:
        return "path"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise Wrong(f"expected a path; {found(value)}")
        return value

    def json_schema(self) -> dict[str, Any]:
        return {"type": "string", "minLength": 1}


class FilePaths(Kind):
    """Paths, or one alone; relative ones start at the folder of the file that says them."""

    def label(self) -> str:
        return "array of paths"

    def read(self, value: object) -> tuple[str, ...]:
        paths = value if isinstance(value, list) else [value]
        if not all(isinstance(path, str) and path and "\0" not in path for path in paths):
            raise Wrong(f"expected an array of paths; {found(value)}")
        return tuple(paths)

    def write(self, value: tuple[str, ...]) -> str:
        return f"[{', '.join(map(toml_text, value))}]"

    def json_schema(self) -> dict[str, Any]:
        path = {"type": "string", "minLength": 1}
        return {"anyOf": [path, {"type": "array", "items": path}]}
