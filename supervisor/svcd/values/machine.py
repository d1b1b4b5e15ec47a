"""The CPUs and the memory of one machine, as far as this program may use them; sizes are bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cpu:
    """What the kernel schedules on: one hardware thread of a core."""

    number: int
    """As the kernel counts them."""
    core: int = 0
    """The lowest number among the hardware threads of its core, so that siblings have the same."""
    node: int = 0
    """Its NUMA node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What can be shared out here."""

    cpus: tuple[Cpu, ...]
    """Those that this program may run on."""
    cpu_limit: float | None = None
    """Cores' worth of time that a control group around this program allows; None where none does."""
    memory: int
    """Of the machine, or of a control group around this program when that is less."""
