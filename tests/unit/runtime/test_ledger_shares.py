"""The ledger with a machine: CPUs and memory are granted like GPUs, and waited for like them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcd.policy.lifecycle import Happening
from svcd.runtime.ledger import Ledger
from svcd.values.inventory import Gpu, Inventory
from svcd.values.machine import Cpu, Machine
from svcd.values.specs import Resources, ServiceSpec

if TYPE_CHECKING:
    from svcd.policy.placement import Assignment

GI = 1024**3


class Asking:
    """As much of a replica as the ledger knows."""

    def __init__(self, **resources: float) -> None:
        self.spec = ServiceSpec(name="A", target="m:A", python="", resources=Resources(**resources))  # type: ignore[arg-type]  # whole where it has to be
        self.assignment: Assignment | None = None
        self.reason = ""
        self.placed = 0

    def post(self, happening: Happening) -> None:
        assert happening is Happening.PLACED
        self.placed += 1

    def waiting(self, reason: str) -> None:
        self.reason = reason


def ledger(*nodes: int, memory: int = 8 * GI) -> Ledger:
    gpus = tuple(
        Gpu(index=i, uuid=f"GPU-{i}", name="A100", memory_total=1, memory_used=0, numa_node=i) for i in range(2)
    )
    cpus = tuple(Cpu(number, number, node) for number, node in enumerate(nodes))
    return Ledger(Inventory(gpus=gpus), Machine(cpus=cpus, memory=memory))


def ask(ledger: Ledger, **resources: float) -> Asking:
    replica = Asking(**resources)
    ledger.request(replica)  # type: ignore[arg-type]  # a thin stand-in
    return replica


def test_cpus_are_those_of_the_gpu_s_node() -> None:
    book = ledger(0, 0, 1, 1)
    ask(book, gpu=1)
    second = ask(book, gpu=1, cpu=2)
    assert second.assignment is not None
    assert (second.assignment.gpus, sorted(second.assignment.cpus)) == (("GPU-1",), [2, 3])


def test_what_is_short_is_waited_for_and_granted_when_it_is_given_back() -> None:
    book = ledger(0, 0)
    first = ask(book, cpu=1.5, memory=6 * GI)
    by_cpu = ask(book, cpu=1)
    by_memory = ask(book, memory=3 * GI)
    assert by_cpu.reason == "needs 1 CPU; 500m of 2 free, 1500m held by replicas"
    assert by_memory.reason == "needs 3Gi of memory; 2Gi of 8Gi free, 6Gi held by replicas"
    assert by_cpu.assignment is by_memory.assignment is None
    book.release(first)  # type: ignore[arg-type]  # a thin stand-in
    assert by_cpu.placed == by_memory.placed == 1


def test_a_replica_that_asks_for_no_share_gets_no_cpu_of_its_own() -> None:
    plain = ask(ledger(0), gpu=1)
    assert plain.assignment is not None
    assert (dict(plain.assignment.cpus), plain.assignment.memory) == ({}, 0)


def test_a_shortage_of_one_thing_takes_nothing_of_another() -> None:
    book = ledger(0)
    ask(book, gpu=1, cpu=5)
    assert ask(book, gpu=2).placed == 1
