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
        targets = ", ".join(reading.targets)
        raise DiscoveryError(
            f"cannot import {targets}{reading.asked_by}: the process that did ({reading.python}) ended before it was"
            f" through; it {describe_exit(code, past=True)}",
            said,
        ) from None
    file.unlink()
    return report
