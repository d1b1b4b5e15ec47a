"""The daemon's own limits: as many descriptors as it may have, and no core files.

The soft limit of descriptors is 1024 by tradition, for programs that use select(2); svcd does not, its services may,
and get what the daemon was given. A core file would hold the secrets of all services.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Descriptors(NamedTuple):
    """How many descriptors a process may have open; -1 is unlimited."""

    soft: int
    hard: int


def raise_descriptors() -> Descriptors:
    """Raise the soft limit of this process to the hard one; return what they were."""
    before = Descriptors(*resource.getrlimit(resource.RLIMIT_NOFILE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (before.hard, before.hard))
    return before


def write_no_cores() -> None:
    """Have this process, and all that it starts unless told otherwise, leave no core file when it crashes."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))


def too_high(rlimits: Mapping[str, int], *, privileged: bool) -> dict[str, int]:
    """Return those of these limits that this process can't set, with the hard limit that stands in the way."""
    if privileged:
        return {}
    hard = {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name.upper()}"))[1] for name in rlimits}
    return {
        name: hard[name]
        for name, value in rlimits.items()
        if hard[name] != resource.RLIM_INFINITY and (value == resource.RLIM_INFINITY or value > hard[name])
    }
