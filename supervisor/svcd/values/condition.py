"""How the machine and the daemon's process are at one moment, as far as it bears on serving."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Of one folder's disk."""

    free: int | None
    """Bytes that this user may still write; None when the folder is gone."""
    is_read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One look."""

    wall: float
    """Seconds by the clock that people set."""
    awake: float
    """Seconds by a clock that stands still while the machine sleeps."""
    boot: float
    """Seconds by a clock that does not."""
    descriptors: int = 0
    """Open in the daemon."""
    most_descriptors: int = 0
    tasks: int = 0
    """Processes and threads, where they are counted the closest to a limit."""
    most_tasks: int = 0
    disks: Mapping[str, Disk] = field(default_factory=dict)
    """By folder."""
    unwritten: Mapping[str, str] = field(default_factory=dict)
    """Files that the daemon could not write to the last time, and why."""
