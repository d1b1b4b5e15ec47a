"""Which core runs: the modules as they stand here, or the same compiled to machine code (`make native`).

Compiled modules lie in a folder of their own beside the source, with a stamp that says what they were compiled from.
They are used where the stamp fits the source and the interpreter, and SVCD_PURE is not set; all of them or none.
"""

from __future__ import annotations

import os
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import source_hash
from typing import Final

SUFFIX: Final = EXTENSION_SUFFIXES[0]
"""Of extension modules for this interpreter and machine."""

STAMP: Final = f"stamp{SUFFIX}.txt"
"""A line for each module: its name, and the hash of its source."""

# Text and not pathlib.Path, which is a tenth of the keeper's start.
_PACKAGE = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - see above
_COMPILED = f"{_PACKAGE}/compiled"


def why_pure() -> str:
    """Return why the compiled modules are not used, "" when they are."""
    if os.environ.get("SVCD_PURE"):
        return "SVCD_PURE is set"
    try:
        stamp = _read(f"{_COMPILED}/{STAMP}").decode()
    except OSError:
        return "not compiled for this interpreter"
    for line in stamp.splitlines():
        name, _, expected = line.partition(" ")
        source = f"{_PACKAGE}/{name}.py"
        if os.access(source, os.F_OK) and source_hash(_read(source)).hex() != expected:
            return f"{source} has changed since it was compiled; make native"
    return ""


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - see above
        return file.read()


PURE: Final = why_pure()
"""Why the modules run as they stand here, "" where they run compiled."""

KIND: Final = "pure" if PURE else "compiled"


def search_path() -> list[str]:
    """Return where this package's modules are looked for."""
    return [_PACKAGE] if PURE else [_COMPILED, _PACKAGE]
