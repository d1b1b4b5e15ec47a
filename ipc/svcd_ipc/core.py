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


def compiled_in(package: str) -> str:
    """Return the folder of a package's compiled modules."""
    return f"{package}/compiled"


def why_pure(package: str = _PACKAGE) -> str:
    """Return why the compiled modules of a package are not used, "" when they are."""
    if os.environ.get("SVCD_PURE"):
        return "SVCD_PURE is set"
    try:
        stamp = _read(f"{compiled_in(package)}/{STAMP}").decode()
    except OSError:
        return "not compiled for this interpreter"
    for line in stamp.splitlines():
        name, _, expected = line.partition(" ")
        source = f"{package}/{name}.py"
        if os.access(source, os.F_OK) and source_hash(_read(source)).hex() != expected:
            return f"{source} has changed since it was compiled; make native"
    return ""


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - see above
        return file.read()


PURE: Final = why_pure()
"""Why the modules run as they stand here, "" where they run compiled."""

KIND: Final = "pure" if PURE else "compiled"


def search_path(package: str = _PACKAGE, pure: str = PURE) -> list[str]:
    """Return where a package's modules are looked for; `pure` says why they are not to run compiled."""
    return [package] if pure else [compiled_in(package), package]
