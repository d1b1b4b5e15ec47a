"""Read the GPUs of this machine through NVML, in a program of its own, because a sick driver blocks for ever.

`python -m svcd.host.nvml PARENT` prints an Inventory as JSON; `svcd.host.gpus` runs it and kills it when it takes too
long.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pynvml
from pynvml import NVMLError

from svcd.host.processes import set_pdeathsig
from svcd.values.inventory import Gpu, GpuProcess, Inventory, Link, UnusableGpu

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Handle = Any  # a ctypes pointer to an opaque struct

T = TypeVar("T")

_PROBLEMS = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver is installed (libnvidia-ml.so.1 was not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "this user may not talk to the NVIDIA driver",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: (
        "the NVIDIA kernel module and the driver library differ in version: reboot after a driver update"
    ),
}
_NODE_WORDS = 16
"""64-bit words of a NUMA node mask: 1024 nodes, the most that Linux can be built for."""


def read() -> Inventory:
    """Return all GPUs that NVML lists. A machine without a driver has none, which is no error."""
    try:
        pynvml.nvmlInit()
    except NVMLError as error:
        return Inventory(problem=_PROBLEMS.get(error.value, f"NVML cannot be initialised: {error}"))
    try:
        return _inventory()
    except NVMLError as error:
        return Inventory(problem=f"NVML failed: {error}")
    finally:
        _or(None, pynvml.nvmlShutdown)


def _inventory() -> Inventory:
    gpus: list[Gpu] = []
    unusable: list[UnusableGpu] = []
    handles: dict[str, Handle] = {}
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            found = _device(index, handle)
        except NVMLError as error:  # one lost card does not hide the others
            found = UnusableGpu(index=index, uuid="", name="", reason=f"NVML: {error}")
        if isinstance(found, Gpu):
            gpus.append(found)
            handles[found.uuid] = handle
        else:
            unusable.append(found)
    linked = [_with_links(gpu, handles, gpus) for gpu in gpus]
    return Inventory(
        gpus=tuple(linked),
        unusable=tuple(unusable),
        problem=_problem(linked, unusable),
        driver=_or("", pynvml.nvmlSystemGetDriverVersion),
    )


def _problem(gpus: Sequence[Gpu], unusable: Sequence[UnusableGpu]) -> str | None:
    if unusable:
        return "; ".join(
            f"GPU {gpu.index}{gpu.name and f' ({gpu.name})'} is not used: {gpu.reason}" for gpu in unusable
        )
    return None if gpus else "the NVIDIA driver lists no GPU"


def _device(index: int, handle: Handle) -> Gpu | UnusableGpu:
    uuid = pynvml.nvmlDeviceGetUUID(handle)
    name = pynvml.nvmlDeviceGetName(handle)
    mig, _ = _or((0, 0), pynvml.nvmlDeviceGetMigMode, handle)
    if mig == pynvml.NVML_DEVICE_MIG_ENABLE:
        reason = f"MIG mode is on, and MIG devices are not supported yet; `nvidia-smi -i {index} -mig 0` turns it off"
        return UnusableGpu(index=index, uuid=uuid, name=name, reason=reason)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    bus = _text(pynvml.nvmlDeviceGetPciInfo(handle).busId)
    running: list[Any] = _or([], pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
    return Gpu(
        index=index,
        uuid=uuid,
        name=name,
        memory_total=memory.total,
        memory_used=memory.used,
        numa_node=_numa_node(handle, bus),
        pci_bus_id=bus,
        processes=tuple(GpuProcess(process.pid, process.usedGpuMemory) for process in running),
    )


def _numa_node(handle: Handle, bus: str) -> int | None:
    """The node whose memory is nearest: what NVML says, else what the kernel says of the PCI device."""
    # Not nvmlDeviceGetNumaNodeId: that is the node a GPU's own memory makes, on machines like Grace Hopper.
    scope = pynvml.NVML_AFFINITY_SCOPE_NODE
    words: Sequence[int] = _or((), pynvml.nvmlDeviceGetMemoryAffinity, handle, _NODE_WORDS, scope)
    mask = sum(word << (64 * place) for place, word in enumerate(words))
    if mask:
        return (mask & -mask).bit_length() - 1
    try:
        # NVML writes 00000000:3B:00.0, sysfs 0000:3b:00.0; -1 is the kernel's "unknown".
        node = int(Path(f"/sys/bus/pci/devices/{bus[-12:].lower()}/numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def _with_links(gpu: Gpu, handles: dict[str, Handle], gpus: Sequence[Gpu]) -> Gpu:
    """Add the NVLinks: counted where they end at the peer itself, else all that lead to the switch between the two."""
    remotes = Counter(_remotes(handles[gpu.uuid]))
    if not remotes:
        return gpu
    by_bus = {peer.pci_bus_id for peer in gpus}
    to_switch = sum(count for bus, count in remotes.items() if bus not in by_bus)
    links = []
    for peer in gpus:
        lanes = remotes[peer.pci_bus_id]
        if not lanes and to_switch and peer.uuid != gpu.uuid and _peer_to_peer(handles[gpu.uuid], handles[peer.uuid]):
            lanes = to_switch
        if lanes:
            links.append(Link(peer.uuid, lanes))
    fields = {name: getattr(gpu, name) for name in Gpu.__slots__}
    return Gpu(**{**fields, "links": tuple(links)})


def _remotes(handle: Handle) -> list[str]:
    """PCI bus ids at the other ends of a GPU's active NVLinks."""
    active = [
        link
        for link in range(pynvml.NVML_NVLINK_MAX_LINKS)
        if _or(0, pynvml.nvmlDeviceGetNvLinkState, handle, link) == pynvml.NVML_FEATURE_ENABLED
    ]
    remotes: list[Any] = [_or(None, pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, link) for link in active]
    return [_text(remote.busId) for remote in remotes if remote is not None]


def _peer_to_peer(one: Handle, other: Handle) -> bool:
    status = _or(None, pynvml.nvmlDeviceGetP2PStatus, one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
    return bool(status == pynvml.NVML_P2P_STATUS_OK)


def _or(default: T, function: Callable[..., Any], *args: Any) -> T:
    """Call NVML for something that not every card or driver has."""
    try:
        return function(*args)  # type: ignore[no-any-return]  # pynvml has no types; the callers know them
    except NVMLError:
        return default


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def main(argv: Sequence[str] = ()) -> int:
    """Print the inventory; ends with the process PARENT, which started it."""
    set_pdeathsig()
    if argv and os.getppid() != int(argv[0]):
        return 1
    sys.stdout.write(read().to_json())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
