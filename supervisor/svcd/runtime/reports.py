"""The report that a discovery child leaves: taken once, and what to say when there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.values.errors import DiscoveryError
from svcd.values.exits import describe_exit

if TYPE_CHECKING:
    from svcd.runtime.discovery import Reading


def take_report(path: str, reading: Reading, code: int, last_lines: list[str]) -> dict[str, Any]:
    """Read and remove the report of a child that ended with `code`. Raises DiscoveryError when it left none."""
    file = Path(path)
    try:
        report: dict[str, Any] = json.loads(file.read_bytes())
    except FileNotFoundError:
        said = "\n".join(last_lines) or None
        raise DiscoveryError(_without_report(reading, code), said) from None
    file.unlink()
    return report


def _without_report(reading: Reading, code: int) -> str:
    ended = describe_exit(code, past=True)
    if not reading.targets:
        return f"{reading.python}{reading.asked_by}: is not a Python interpreter (started as one it {ended})"
    doubt = "" if code else f"; is {reading.python} a Python interpreter?"
    return (
        f"cannot import {', '.join(reading.targets)}{reading.asked_by}: the process that did ({reading.python}) ended"
        f" before it was through; it {ended}{doubt}"
    )
