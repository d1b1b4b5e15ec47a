"""The daemon's own limit of open descriptors: as many as it may have, while its children get what it was given.

The soft limit is 1024 by tradition, for programs that use select(2); svcd does not, its services may.
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
