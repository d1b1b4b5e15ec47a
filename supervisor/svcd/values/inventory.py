"""The GPUs of one machine, as NVML or a file describes them; sizes are bytes."""

from __future__ import annotations

import json
import re
from collections import Counter
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

    def is_of(self, gpu_type: str) -> bool:
        """Tell whether NVML's name of it has all words of a type, whatever their case and order.

        A word is a run of letters and digits, so that `A100` fits `NVIDIA A100-SXM4-80GB` and `A10` does not.
        """
        return _words(gpu_type) <= _words(self.name)


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

    @property
    def names(self) -> str:
        """The usable devices by name, as `2 x NVIDIA L4, 1 x Tesla T4`."""
        return ", ".join(f"{count} x {name}" for name, count in Counter(gpu.name for gpu in self.gpus).items())

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


def _words(name: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9]+", name.casefold()))


def _gpu(item: dict[str, Any]) -> Gpu:
    links = tuple(Link(**link) for link in item.pop("links", ()))
    processes = tuple(GpuProcess(**process) for process in item.pop("processes", ()))
    return Gpu(**item, links=links, processes=processes)
