"""The GPUs of one machine, as NVML or a file describes them; sizes are bytes."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Link:
    """NVLink between two GPUs."""

    peer: str
    """UUID of the GPU at the other end."""
    lanes: int
    """How many links join the two; behind an NVSwitch, how many join this GPU to the switch."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A program that computes on a GPU, ours or not."""

    pid: int
    """As NVML says it: in a container it may be a number of the host's pid namespace."""
    memory: int | None
    """Bytes of GPU memory; None when the driver does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One device that can be given to a replica."""

    index: int
    """NVML's number, which is PCI bus order; only the UUID is stable."""
    uuid: str
    name: str
    memory_total: int
    memory_used: int
    numa_node: int | None = None
    pci_bus_id: str = ""
    links: tuple[Link, ...] = ()
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusableGpu:
    """A device that is there but is not placed on, with the reason."""

    index: int
    uuid: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What can be placed on this machine."""

    gpus: tuple[Gpu, ...] = ()
    problem: str | None = None
    """Why there are no GPUs, or not all of them; None when all is well."""
    unusable: tuple[UnusableGpu, ...] = ()
    driver: str = ""
    """Version of the NVIDIA driver."""

    def to_json(self) -> str:
        """Return the text that `from_json` reads."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Inventory:
        """Read an inventory. Raises ValueError that says what is wrong with the text."""
        try:
            data = json.loads(text)
            return cls(
                gpus=tuple(_gpu(item) for item in data.pop("gpus")),
                unusable=tuple(UnusableGpu(**item) for item in data.pop("unusable", ())),
                **data,
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not an inventory of GPUs: {error}") from error


def _gpu(item: dict[str, Any]) -> Gpu:
    links = tuple(Link(**link) for link in item.pop("links", ()))
    processes = tuple(GpuProcess(**process) for process in item.pop("processes", ()))
    return Gpu(**item, links=links, processes=processes)
