"""Finds the interpreters that a configuration names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from svcd.config.paths import absolute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.config.layers import Entry, Stack
    from svcd.config.problems import Problem


def python_entry(stack: Stack, service: str) -> Entry | None:
    """Return the entry that names a service's interpreter; None when it is left to svcd."""
    entries = stack.get(("services", service, "python")) or stack.get(("app", "python"))
    return entries[-1] if entries else None


def interpreter(entry: Entry, environ: Mapping[str, str]) -> str:
    """Return the absolute path of the interpreter that an entry names.

    A bare name is looked up on PATH first.
    """
    said: str = entry.value
    if "/" not in said:
        import shutil  # noqa: PLC0415 - rare, and not for free at start-up

        return shutil.which(said, path=environ.get("PATH")) or absolute(entry)
    return absolute(entry)


def interpreter_problem(entry: Entry, environ: Mapping[str, str]) -> Problem | None:
    """Say why the interpreter of an entry can't be started, None when it can."""
    path = interpreter(entry, environ)
    if os.path.isdir(path):  # noqa: PTH112 - path is text all through this module
        inside = f"{entry.value.rstrip('/')}/bin/python"
        is_environment = os.access(os.path.join(path, "bin", "python"), os.X_OK)  # noqa: PTH118 - as above
        return entry.problem("is a folder, not an interpreter", inside if is_environment else None)
    if not os.path.exists(path):  # noqa: PTH110 - as above
        at = f" at {path}" if "/" in entry.value else " of that name on PATH"
        return entry.problem(f"no interpreter{at}; `python3 -m venv FOLDER` makes one as FOLDER/bin/python")
    if not os.access(path, os.X_OK):
        return entry.problem(f"{path} can't be executed; is it an interpreter?")
    return None
