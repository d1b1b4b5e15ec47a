"""Who holds which GPUs, CPUs and how much memory, and who waits for some."""

from __future__ import annotations

from collections import Counter
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
        self._gpus: set[str] = set()
        self._cpus: Counter[int] = Counter()
        self._memory = 0
        """GPUs, CPUs and memory are what all of them hold together: a request looks at none of them by itself."""
        self._waiting: dict[Replica, None] = {}
        """In order of asking."""

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
        elif not self._grant(replica, self._choose(replica.spec.resources)):
            self._waiting[replica] = None

    def restore(self, replica: Replica, assignment: Assignment) -> None:
        """Note what a replica holds since an earlier daemon granted it."""
        self._hold(replica, assignment)

    def release(self, replica: Replica) -> None:
        """Take back what the replica holds or waits for, and serve those who wait."""
        self._waiting.pop(replica, None)
        replica.assignment = None
        if (held := self._held.pop(replica, None)) is not None:
            self._gpus.difference_update(held.gpus)
            self._cpus.subtract(held.cpus)
            self._memory -= held.memory
            self._serve()

    def _serve(self) -> None:
        """Grant what can be granted. What is too much for one is too much for all who ask for the same."""
        short: dict[Resources, Shortage] = {}
        for waiter in [*self._waiting]:
            wanted = waiter.spec.resources
            answer = short.get(wanted) or self._choose(wanted)
            if self._grant(waiter, answer):
                del self._waiting[waiter]
                short.clear()  # the reasons tell how much is held
            elif isinstance(answer, Shortage):
                short[wanted] = answer

    def _grant(self, replica: Replica, answer: Assignment | Shortage) -> bool:
        """Let the replica have it, or know why it has to wait; return whether it has it."""
        if isinstance(answer, Shortage):
            if self._is_late or self._inventory is not None or not replica.spec.resources.gpu:
                replica.waiting(answer.reason)
            return False
        self._hold(replica, answer)
        replica.post(Happening.PLACED)
        return True

    def _hold(self, replica: Replica, assignment: Assignment) -> None:
        self._held[replica] = replica.assignment = assignment
        self._gpus.update(assignment.gpus)
        self._cpus.update(assignment.cpus)
        self._memory += assignment.memory

    def _choose(self, wanted: Resources) -> Assignment | Shortage:
        answer = place(wanted.gpu, self._inventory, self._gpus, wanted.gpu_type)
        if isinstance(answer, Shortage) or self._machine is None:
            return answer
        if wanted.memory is not None:
            shortage = share_memory(wanted.memory, self._machine, [self._memory])
            if shortage is not None:
                return shortage
            answer = replace(answer, memory=wanted.memory)
        if wanted.cpu is not None:
            near = self._node_of(answer.gpus)
            slices = share_cpus(wanted.cpu, self._machine, [self._cpus], near)
            if isinstance(slices, Shortage):
                return slices
            answer = replace(answer, cpus=slices)
        return answer

    def _node_of(self, gpus: tuple[str, ...]) -> int | None:
        """The NUMA node of a replica's first GPU."""
        known = self._inventory.gpus if self._inventory else ()
        return next((gpu.numa_node for gpu in known if gpu.uuid in gpus), None)
