"""A full replica's lobby: who waits there, in what order slots come free, and what is answered busy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

import svcd
from svcd.worker.lobby import ROOM, Lobby
from svcd.worker.patience import PATIENCE
from svcd.worker.portal import Portal
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads
from svcd_ipc.calls import IncomingCall
from svcd_ipc.errors import Busy
from svcd_ipc.messages import Hello

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@svcd.service
class Held:
    def __init__(self) -> None:
        self.began: list[str] = []
        self.gates: dict[str, trio.Event] = {}

    @svcd.api
    async def hold(self, label: str) -> str:
        self.began.append(label)
        await self.gates.setdefault(label, trio.Event()).wait()
        return label


class Rig:
    """A service with one slot behind a lobby, and callers by name."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.threads = ServiceThreads("Held", Portal(nursery))
        self.threads.start()
        self.live = LiveService("Held", self.threads, max_concurrency=1)
        self.held = Held()
        self.live.attach(self.held)
        self.lobby = Lobby(self.live)
        self.peers: dict[str, Hello] = {}
        self.got: dict[str, Any] = {}

    def call(self, label: str) -> IncomingCall:
        """The first letter of the label is who calls."""
        peer = self.peers.setdefault(label[0], Hello(1, {}))
        return IncomingCall("hold", {"label": label}, None, None, 0, peer)

    def ask(self, label: str) -> bool:
        call = self.call(label)
        admitted = self.lobby.admit(call)
        if admitted:
            self.nursery.start_soon(self._run, label, call)
        return admitted

    async def _run(self, label: str, call: IncomingCall) -> None:
        try:
            self.got[label] = await self.lobby.handle(call)
        except Busy as busy:
            self.got[label] = busy

    async def go_on(self, label: str) -> None:
        self.held.gates[label].set()
        while label not in self.got:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
async def rig(nursery: trio.Nursery) -> AsyncIterator[Rig]:
    made = Rig(nursery)
    yield made
    made.threads.stop()


async def test_callers_take_turns(rig: Rig) -> None:
    assert [rig.ask(label) for label in ("a1", "a2", "a3", "a4")] == [True] * (1 + ROOM) + [False]
    assert rig.ask("b1")
    await trio.testing.wait_all_tasks_blocked()
    assert rig.live.load() == (1, 3)
    assert repr(rig.lobby) == "<Lobby of <LiveService Held [1 of 1 calls]> [3 waiting]>"
    await rig.go_on("a1")
    assert rig.ask("a5")  # after b1, however quick it is
    for label in ("a2", "a3", "b1", "a5"):
        await rig.go_on(label)
    assert rig.held.began == ["a1", "a2", "a3", "b1", "a5"]
    assert (rig.live.load(), rig.live.taken) == ((0, 0), 0)


async def test_who_finds_no_slot_soon_is_told_that_it_was_not_started(
    autojump_clock: trio.testing.MockClock, rig: Rig
) -> None:
    rig.ask("a1")
    start = trio.current_time()
    rig.ask("b1")
    await trio.testing.wait_all_tasks_blocked()
    assert not rig.got
    await trio.sleep(PATIENCE)
    await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() - start == pytest.approx(PATIENCE)
    assert (rig.got["b1"].load, rig.held.began) == ((1, 0), ["a1"])
    await rig.go_on("a1")
    assert rig.live.taken == 0


async def test_who_leaves_takes_no_slot(rig: Rig) -> None:
    rig.ask("a1")
    gone, begun = rig.call("b1"), rig.call("b2")
    assert rig.lobby.admit(gone)
    rig.lobby.release(gone)  # before a task was found for it
    with trio.CancelScope() as scope:
        assert rig.lobby.admit(begun)
        scope.cancel()
        await rig.lobby.handle(begun)
    assert rig.live.parked == 0
    await trio.testing.wait_all_tasks_blocked()
    await rig.go_on("a1")
    assert (rig.live.taken, rig.held.began) == (0, ["a1"])


async def test_while_it_drains_those_inside_are_still_run(rig: Rig, nursery: trio.Nursery) -> None:
    rig.ask("a1")
    rig.ask("b1")
    await trio.testing.wait_all_tasks_blocked()
    nursery.start_soon(rig.live.drain)
    await trio.testing.wait_all_tasks_blocked()
    assert not rig.ask("c1")
    await rig.go_on("a1")
    await rig.go_on("b1")
    assert rig.held.began == ["a1", "b1"]


async def test_calls_from_within_the_process_have_their_turn(nursery: trio.Nursery) -> None:
    rig = Rig(nursery)
    handed: list[str] = []
    rig.live.on_freed = lambda: handed.append("within")
    rig.live.lined_up = 1
    rig.lobby = Lobby(rig.live)
    rig.ask("a1")
    rig.ask("b1")
    rig.ask("c1")
    for label in ("a1", "b1", "c1"):
        await trio.testing.wait_all_tasks_blocked()
        await rig.go_on(label)
    assert len(handed) == 3
    rig.threads.stop()
