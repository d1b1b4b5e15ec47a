"""Which GPUs a replica gets: whole devices, best connected first, never one twice."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from svcd.values.inventory import Gpu, Inventory


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a replica got."""

    gpus: tuple[str, ...] = ()
    """UUIDs, in CUDA's device order for the replica."""
    cpus: Mapping[int, int] = field(default_factory=dict)
    """CPU -> thousandths of it; empty for one that asked for no share and may run on all."""
    memory: int = 0
    """Bytes; 0 for one that asked for none."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """Why nothing could be given."""

    reason: str
    """A sentence with the arithmetic, for `svcd ps`."""


def place(
    gpus: int, inventory: Inventory | None, taken: AbstractSet[str], gpu_type: str | None = None
) -> Assignment | Shortage:
    """Choose `gpus` whole devices that are not in `taken` (UUIDs), preferring one NUMA node and low indices.

    inventory: None while it is still being read. gpu_type: see `Gpu.is_of`; None takes any.
    """
    if gpus == 0:
        return Assignment()
    needs = f"needs {_count(gpus, gpu_type)}"
    if inventory is None:
        return Shortage(f"{needs}; the driver has not said yet what there is")
    fitting = [gpu for gpu in inventory.gpus if gpu_type is None or gpu.is_of(gpu_type)]
    free = [gpu for gpu in fitting if gpu.uuid not in taken]
    if len(free) < gpus:
        return Shortage(f"{needs}; {_shortage(gpus, inventory, len(fitting), len(free))}")
    return Assignment(tuple(gpu.uuid for gpu in sorted(_best(free, gpus), key=lambda gpu: gpu.index)))


def _shortage(wanted: int, inventory: Inventory, fitting: int, free: int) -> str:
    if not inventory.gpus:
        return f"this box has none ({inventory.problem or 'NVML lists no device'})"
    if wanted > fitting:
        problem = f" ({inventory.problem})" if inventory.problem else ""
        others = "" if fitting == len(inventory.gpus) else f": it has {inventory.names}"
        return f"this box has {fitting or 'none'}{' in all' if fitting else ''}{others}{problem}"
    return f"{free} of {fitting} free, {fitting - free} held by other replicas"


def _count(gpus: int, gpu_type: str | None) -> str:
    kind = f"{gpu_type} " if gpu_type else ""
    return f"1 {kind}GPU" if gpus == 1 else f"{gpus} {kind}GPUs"


def _best(free: Sequence[Gpu], wanted: int) -> Sequence[Gpu]:
    """The tightest NUMA node that holds them all, so that large nodes stay whole; else whatever is first."""
    sizes = Counter(gpu.numa_node for gpu in free)
    fitting = [node for node, size in sizes.items() if size >= wanted]
    if not fitting:
        return sorted(free, key=lambda gpu: (-sizes[gpu.numa_node], gpu.index))[:wanted]
    node = min(fitting, key=lambda node: (sizes[node], min(gpu.index for gpu in free if gpu.numa_node == node)))
    return [gpu for gpu in free if gpu.numa_node == node][:wanted]
