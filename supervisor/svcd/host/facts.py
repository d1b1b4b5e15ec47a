"""What starting replicas takes to know of this machine, read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from svcd.host.cgroup_tree import Around, ControlGroups
from svcd.host.machine import read_machine

if TYPE_CHECKING:
    from svcd.host.limits import Descriptors
    from svcd.values.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Of this machine, for one run of the daemon."""

    machine: Machine
    groups: ControlGroups
    descriptors: Descriptors
    """What svcd was started with, which is what its children get."""

    @classmethod
    def read(cls, app: str, descriptors: Descriptors, *, with_groups: bool) -> Facts:
        """Read them. with_groups: some replica needs a control group; svcd may move into one of its own for that."""
        around = Around.read()
        groups = ControlGroups.below(around, app) if with_groups else ControlGroups()
        groups.sweep(app)
        return cls(machine=read_machine(around.bounds()), groups=groups, descriptors=descriptors)
