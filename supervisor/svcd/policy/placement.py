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


def place(gpus: int, inventory: Inventory | None, taken: AbstractSet[str]) -> Assignment | Shortage:
    """Choose `gpus` whole devices that are not in `taken` (UUIDs), preferring one NUMA node and low indices.

    inventory: None while it is still being read.
    """
    if gpus == 0:
        return Assignment()
    if inventory is None:
        return Shortage(f"needs {_count(gpus)}; the driver has not said yet what there is")
    free = [gpu for gpu in inventory.gpus if gpu.uuid not in taken]
    if len(free) < gpus:
        return Shortage(_shortage(gpus, len(inventory.gpus), len(free), inventory.problem))
    return Assignment(tuple(gpu.uuid for gpu in sorted(_best(free, gpus), key=lambda gpu: gpu.index)))


def _shortage(wanted: int, total: int, free: int, problem: str | None) -> str:
    if total == 0:
        return f"needs {_count(wanted)}; this box has none ({problem or 'NVML lists no device'})"
    if wanted > total:
        return f"needs {_count(wanted)}; this box has {total} in all" + (f" ({problem})" if problem else "")
    return f"needs {_count(wanted)}; {free} of {total} free, {total - free} held by other replicas"


def _count(gpus: int) -> str:
    return "1 GPU" if gpus == 1 else f"{gpus} GPUs"


def _best(free: Sequence[Gpu], wanted: int) -> Sequence[Gpu]:
    """The tightest NUMA node that holds them all, so that large nodes stay whole; else whatever is first."""
    sizes = Counter(gpu.numa_node for gpu in free)
    fitting = [node for node, size in sizes.items() if size >= wanted]
    if not fitting:
        return sorted(free, key=lambda gpu: (-sizes[gpu.numa_node], gpu.index))[:wanted]
    node = min(fitting, key=lambda node: (sizes[node], min(gpu.index for gpu in free if gpu.numa_node == node)))
    return [gpu for gpu in free if gpu.numa_node == node][:wanted]
