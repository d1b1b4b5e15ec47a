"""A service as the daemon sees it, or a group that shares a process: its replicas, and what callers are told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import trio

from svcd.policy.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from svcd.runtime.replica import Replica
    from svcd.values.boot import Address
    from svcd.values.specs import ServiceSpec


class Service:
    """One service, or one group of services, with its replicas."""

    def __init__(self, spec: ServiceSpec) -> None:
        self.spec = spec
        self.replicas: list[Replica] = []
        """Those that are wanted, and those that are still on their way out."""
        self.wanted = spec.scaling.min_replicas
        """How many there should be."""
        self.is_fixed = False
        """Whether an operator has set how many there should be."""
        self.was_ready = trio.Event()
        """Set for good once a replica has been ready: restarts wait for nobody."""

    def __repr__(self) -> str:
        """Name and the states of its replicas."""
        return f"<Service {self.spec.name} [{', '.join(replica.state for replica in self.replicas)}]>"

    @property
    def is_scaled(self) -> bool:
        """Whether there are to be other than at the start."""
        return self.is_fixed or self.wanted != self.spec.scaling.min_replicas

    def recall(self, wanted: int, *, is_fixed: bool) -> None:
        """Go on with as many as there were to be; of those that follow the load as many as there may be now."""
        bounds = self.spec.scaling
        self.is_fixed = is_fixed
        self.wanted = wanted if is_fixed else max(bounds.min_replicas, min(bounds.max_replicas, wanted))

    @property
    def scales(self) -> bool:
        """Whether the number of replicas follows the load."""
        return self.spec.scaling.max_replicas > self.spec.scaling.min_replicas

    @property
    def state(self) -> str:
        """`ready`, `starting`, `stopped`, `failed` or `done`: the state in the routes, see docs/internals.md."""
        states = {replica.state for replica in self.replicas}
        if State.READY in states:
            return "ready"
        coming = {State.PENDING, State.STARTING, State.UNREADY, State.BACKOFF}
        if states & coming or any(each.returns for each in self.replicas):
            return "starting"
        if State.FAILED in states:
            return "failed"
        return "done" if State.DONE in states else "stopped"

    @property
    def ready(self) -> list[Replica]:
        """The replicas that take calls."""
        return [replica for replica in self.replicas if replica.state is State.READY]

    @property
    def reason(self) -> str:
        """Why it is in that state, when a replica says so."""
        return next((f"{replica.name}: {replica.reason}" for replica in self.replicas if replica.reason), "")

    @property
    def staying(self) -> list[Replica]:
        """The replicas that nobody has asked to stop, lowest index first."""
        return sorted((each for each in self.replicas if not each.is_leaving), key=lambda replica: replica.index)

    def free_indices(self) -> Iterator[int]:
        """Indices that no replica has, those on their way out included."""
        used = {replica.index for replica in self.replicas}
        return (index for index in itertools.count() if index not in used)

    def route(self, name: str, addresses: Mapping[str, Mapping[str, Address]]) -> dict[str, Any]:
        """Return what a caller of `name` needs: state, reason, and (id, path, secret) of the replicas that are ready.

        version: of the service, as it is configured. scales: whether the caller is to report its calls.

        addresses: by process id, then by service. The id names the process, not the place, so that callers connect anew
        after a restart.
        """
        ready = [replica.process_id for replica in self.ready]
        return {
            "state": self.state,
            "reason": self.reason,
            "version": next(each.version for each in self.spec.all if each.name == name),
            "scales": self.scales,
            # A process that has just exited loses its socket before its replica has taken note.
            "replicas": [[process_id, *addresses[process_id][name]] for process_id in ready if process_id in addresses],
        }
