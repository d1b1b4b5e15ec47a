"""Who holds which GPUs, CPUs and how much memory, and who waits for some."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from svcd.policy.lifecycle import Happening
from svcd.policy.placement import Assignment, Shortage, place
from svcd.policy.shares import share_cpus, share_memory

if TYPE_CHECKING:
    from svcd.runtime.replica import Replica
    from svcd.values.inventory import Inventory
    from svcd.values.machine import Machine
    from svcd.values.specs import Resources


class Ledger:
    """Grants resources in order of asking; a later request that fits may pass an earlier one that does not."""

    def __init__(self, inventory: Inventory | None = None, machine: Machine | None = None) -> None:
        """Take what there is, or None when that is still being read: requests for devices wait until `learn`.

        machine: its CPUs and memory; None grants any share of them, and no CPU in particular.
        """
        self._inventory = inventory
        self._machine = machine
        self._is_late = False
        self._held: dict[Replica, Assignment] = {}
        self._waiting: list[Replica] = []

    def __repr__(self) -> str:
        """How many hold and how many wait."""
        return f"<Ledger {len(self._held)} held, {len(self._waiting)} waiting>"

    @property
    def is_short(self) -> bool:
        """Whether somebody waits."""
        return bool(self._waiting)

    def learn(self, inventory: Inventory) -> None:
        """Take what there is from now on, and serve those who wait. What was granted before stays so."""
        self._inventory = inventory
        self._serve()

    def late(self) -> None:
        """Say to those who wait for `learn` that it takes long; until then it goes without saying."""
        self._is_late = True
        self._serve()

    def request(self, replica: Replica) -> None:
        """Grant now (PLACED is posted), or say why not and grant when something is released.

        A replica that comes back after a failure holds its grant still, and gets just that.
        """
        if replica in self._held:
            replica.post(Happening.PLACED)
        elif not self._grant(replica):
            self._waiting.append(replica)

    def restore(self, replica: Replica, assignment: Assignment) -> None:
        """Note what a replica holds since an earlier daemon granted it."""
        self._held[replica] = replica.assignment = assignment

    def release(self, replica: Replica) -> None:
        """Take back what the replica holds or waits for, and serve those who wait."""
        if replica in self._waiting:
            self._waiting.remove(replica)
        replica.assignment = None
        if self._held.pop(replica, None) is not None:
            self._serve()

    def _serve(self) -> None:
        self._waiting = [waiter for waiter in self._waiting if not self._grant(waiter)]

    def _grant(self, replica: Replica) -> bool:
        answer = self._choose(replica.spec.resources)
        if isinstance(answer, Shortage):
            if self._is_late or self._inventory is not None or not replica.spec.resources.gpu:
                replica.waiting(answer.reason)
            return False
        self._held[replica] = replica.assignment = answer
        replica.post(Happening.PLACED)
        return True

    def _choose(self, wanted: Resources) -> Assignment | Shortage:
        held = self._held.values()
        taken = {uuid for assignment in held for uuid in assignment.gpus}
        answer = place(wanted.gpu, self._inventory, taken, wanted.gpu_type)
        if isinstance(answer, Shortage) or self._machine is None:
            return answer
        if wanted.memory is not None:
            shortage = share_memory(wanted.memory, self._machine, [assignment.memory for assignment in held])
            if shortage is not None:
                return shortage
            answer = replace(answer, memory=wanted.memory)
        if wanted.cpu is not None:
            near = self._node_of(answer.gpus)
            slices = share_cpus(wanted.cpu, self._machine, [assignment.cpus for assignment in held], near)
            if isinstance(slices, Shortage):
                return slices
            answer = replace(answer, cpus=slices)
        return answer

    def _node_of(self, gpus: tuple[str, ...]) -> int | None:
        """The NUMA node of a replica's first GPU."""
        known = self._inventory.gpus if self._inventory else ()
        return next((gpu.numa_node for gpu in known if gpu.uuid in gpus), None)
