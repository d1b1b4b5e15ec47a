"""Which CPUs a replica may run on, and whether its memory is there: shares are counted, and never given twice.

A whole core is a CPU of the replica's own. A fraction is a slice of one CPU that other fractions may share, and comes
from several CPUs only when none has enough left. So what asks for no more than is free in all always gets it, the
slices of a CPU never exceed it, and `svcd ps` can show the sum. Slices are counted in thousandths of a core, as sums
of floats drift.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from svcd.policy.placement import Shortage
from svcd.values.units import about, format_cpu, format_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from svcd.values.machine import Cpu, Machine

Slices = dict[int, int]
"""CPU -> thousandths of it."""
FULL = 1000


def share_cpus(
    share: float, machine: Machine, held: Iterable[Mapping[int, int]], near: int | None
) -> Slices | Shortage:
    """Choose CPUs for a share of so many cores.

    Args:
        share: Cores.
        machine: What there is.
        held: The slices of all others.
        near: The NUMA node to prefer, of the replica's GPU; None for no matter.
    """
    wanted = round(share * FULL)
    taken: Counter[int] = Counter()
    for slices in held:
        taken.update(slices)
    most = len(machine.cpus) * FULL
    total = most if machine.cpu_limit is None else min(most, int(machine.cpu_limit * FULL))
    free = total - taken.total()
    if wanted > free:
        return Shortage(_cpu_shortage(wanted, total, free))
    left = {cpu: FULL - taken[cpu.number] for cpu in machine.cpus}
    return _cut(wanted, left, _ranks(wanted, left, near))


def _cpu_shortage(wanted: int, total: int, free: int) -> str:
    if wanted > total:
        return f"needs {_cores(wanted)}; this machine has {_amount(total)}"
    return f"needs {_cores(wanted)}; {_amount(free)} of {_amount(total)} free, {_amount(total - free)} held by replicas"


def _cores(thousandths: int) -> str:
    return f"{_amount(thousandths)} CPU{'' if thousandths == FULL else 's'}"


def _amount(thousandths: int) -> str:
    return format_cpu(thousandths / FULL)


def _ranks(wanted: int, left: Mapping[Cpu, int], near: int | None) -> dict[int, int]:
    """Put the NUMA nodes in order: the near one, then the tightest that holds the share whole, then the emptiest."""
    room: Counter[int] = Counter()
    for cpu, free in left.items():
        room[cpu.node] += free
    order = sorted(room, key=lambda node: (node != near, room[node] < wanted, abs(room[node] - wanted), node))
    return {node: rank for rank, node in enumerate(order)}


def _cut(wanted: int, left: Mapping[Cpu, int], ranks: Mapping[int, int]) -> Slices:
    """Take whole CPUs first, siblings of a core together, then the fraction from the CPU where it fits best."""
    cpus = sorted(left, key=lambda cpu: (ranks[cpu.node], cpu.core, cpu.number))
    whole = [cpu for cpu in cpus if left[cpu] == FULL][: wanted // FULL]
    slices = dict.fromkeys(whole, FULL)
    rest = wanted - FULL * len(whole)
    others = [cpu for cpu in cpus if cpu not in slices and left[cpu]]
    fitting = [cpu for cpu in others if left[cpu] >= rest]
    if fitting:
        others = [min(fitting, key=lambda cpu: (ranks[cpu.node], left[cpu]))]
    for cpu in sorted(others, key=lambda cpu: (ranks[cpu.node], -left[cpu])):
        if rest:
            slices[cpu] = min(rest, left[cpu])
            rest -= slices[cpu]
    return {cpu.number: slice_ for cpu, slice_ in slices.items()}


def share_memory(wanted: int, machine: Machine, held: Iterable[int]) -> Shortage | None:
    """Say why so many bytes are not there; None when they are."""
    taken = sum(held)
    if wanted <= machine.memory - taken:
        return None
    free = max(0, machine.memory - taken)
    if wanted > machine.memory:
        return Shortage(f"needs {format_size(wanted)} of memory; this machine has {about(machine.memory)}")
    return Shortage(
        f"needs {format_size(wanted)} of memory; {about(free)} of {about(machine.memory)} free,"
        f" {about(taken)} held by replicas"
    )
