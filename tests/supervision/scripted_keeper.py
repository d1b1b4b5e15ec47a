"""One replica and a keeper that follows a script."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import trio
import trio.testing

from svcd.policy.lifecycle import Happening, State
from svcd.runtime.replica import Replica
from svcd.values.orders import Exited
from svcd.values.specs import Limits, ServiceSpec

if TYPE_CHECKING:
    from svcd.values.events import Change

SPEC = ServiceSpec(name="Model", target="m:Model", python="/usr/bin/python3", limits=Limits(start=60, drain=30, stop=5))


class World:
    """Grants at once; its processes do what the test says, in answer to the orders that it writes down."""

    def __init__(self) -> None:
        self.orders: list[tuple[float, str]] = []
        self.changes: list[Change] = []
        self.dies_on_term = True
        self.dies_on_kill = True
        self.spawns_after = 0.0
        """Seconds from the order to the exec."""
        self.replica = Replica(SPEC, 0, self, chance=lambda: 0.5)

    def _note(self, order: str) -> None:
        self.orders.append((trio.current_time() - self.began, order))

    began = 0.0

    def request(self, replica: Replica) -> None:
        self._note("request")
        replica.post(Happening.PLACED)

    def release(self, replica: Replica) -> None:
        self._note("release")

    def spawn(self, replica: Replica) -> None:
        self._note("spawn")
        trio.lowlevel.spawn_system_task(self._execute)

    async def _execute(self) -> None:
        await trio.sleep(self.spawns_after)
        self.replica.post(Happening.SPAWNED)

    def terminate(self, replica: Replica) -> None:
        self._note("terminate")
        if self.dies_on_term:
            self.exit(0)

    def ask_where(self, replica: Replica) -> None:
        self._note("ask where")

    def kill(self, replica: Replica) -> None:
        self._note("kill")
        if self.dies_on_kill:
            self.exit(-signal.SIGKILL)

    def drain(self, replica: Replica) -> None:
        self._note("drain")

    def changed(self, replica: Replica, change: Change) -> None:
        self.changes.append(change)

    def exit(self, code: int) -> None:
        self.replica.exited(Exited(self.replica.process_id, 1, code, ["last words"]))
        self.replica.post(Happening.GONE)

    def names(self) -> list[str]:
        return [name for _, name in self.orders]


async def settle() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def make_ready(world: World) -> None:
    world.replica.post(Happening.READY)
    await settle()
    assert world.replica.state is State.READY
