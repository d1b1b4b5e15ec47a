"""What this machine has of CPUs and memory, for this program: psutil's word, the kernel's topology, cgroups' limits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from svcd.values.machine import Cpu, Machine

if TYPE_CHECKING:
    from svcd.host.cgroup_tree import Bounds

SYS = Path("/sys/devices/system")


def read_machine(bounds: Bounds, sys: Path = SYS) -> Machine:
    """Read it. bounds: what the control groups around this program allow."""
    nodes = _nodes(sys)
    numbers = psutil.Process().cpu_affinity()
    memory = psutil.virtual_memory().total
    return Machine(
        cpus=tuple(Cpu(number, _core(sys, number), nodes.get(number, 0)) for number in sorted(numbers)),
        cpu_limit=bounds.cpu,
        memory=memory if bounds.memory is None else min(memory, bounds.memory),
    )


def _nodes(sys: Path) -> dict[int, int]:
    """CPU -> NUMA node; empty where the kernel knows of no nodes."""
    folders = sys.glob("node/node[0-9]*")
    return {cpu: int(folder.name.removeprefix("node")) for folder in folders for cpu in _list(folder / "cpulist")}


def _core(sys: Path, number: int) -> int:
    return min(_list(sys / f"cpu/cpu{number}/topology/thread_siblings_list"), default=number)


def _list(file: Path) -> list[int]:
    """Read a list of CPUs as the kernel writes them: `0-3,8`."""
    try:
        text = file.read_text().strip()
    except OSError:
        return []
    numbers: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
