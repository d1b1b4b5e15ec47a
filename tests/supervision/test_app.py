"""A whole app over a scripted keeper: start order, readiness, stop order, GPUs that are waited for."""

from __future__ import annotations

import contextlib
import itertools
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from svcd.policy.lifecycle import Happening, State
from svcd.runtime.app import App
from svcd.runtime.ledger import Ledger
from svcd.runtime.processes import Processes
from svcd.runtime.starts import Starts
from svcd.values import boot
from svcd.values.inventory import Gpu, Inventory
from svcd.values.orders import Exited, Gone, Kill, Order, Signal, Spawn, Spawned
from svcd.values.specs import AppSpec, DependencySpec, Resources, Scaling, ServiceSpec
from svcd_ipc.client import connect
from svcd_ipc.server import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from svcd.runtime.replica import Replica
    from svcd.values.events import Change


def service(name: str, *needs: str, gpu: int = 0, replicas: int = 1, optional: bool = False) -> ServiceSpec:
    edges = tuple(DependencySpec(name=need.lower(), service=need, optional=optional) for need in needs)
    return ServiceSpec(
        name=name,
        target=f"m:{name}",
        python="/usr/bin/python3",
        dependencies=edges,
        resources=Resources(gpu=gpu),
        scaling=Scaling(min_replicas=replicas, max_replicas=replicas),
    )


class Keeper:
    """Spawns at once, dies on any signal; says what it was ordered."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.processes = Processes(self.take)
        self.unsaid: list[Spawned] | None = None
        """What it has still to tell, once it is told to wait."""

    def take(self, order: Order) -> None:
        self.orders.append(order)
        match order:
            case Spawn():
                spawned = Spawned(order.id, len(self.orders))
                self.processes.dispatch(spawned) if self.unsaid is None else self.unsaid.append(spawned)
            case Signal() | Kill():
                self.end(order.id, -signal.SIGTERM)

    def end(self, process_id: str, code: int) -> None:
        self.processes.dispatch(Exited(process_id, 1, code, []))
        self.processes.dispatch(Gone(process_id))

    def spawned(self) -> list[str]:
        return [order.id for order in self.orders if isinstance(order, Spawn)]

    def signalled(self) -> list[str]:
        return [order.id for order in self.orders if isinstance(order, Signal)]


class Launcher:
    """Makes the least order."""

    def order(self, replica: Replica) -> tuple[Spawn, boot.Identity, dict[str, boot.Address]]:
        identity = boot.Identity(
            app="a", service=replica.spec.name, replica=replica.index, generation=replica.generation, nonce="n"
        )
        addresses = {each.name: boot.Address(f"/{replica.process_id}", "s") for each in replica.spec.all}
        return Spawn(replica.process_id, [], {}, "/", b"", "", []), identity, addresses

    def clear(self, process_id: str) -> None:
        """There is no socket."""


class Scene:
    """An app that runs, and everybody around it."""

    def __init__(self, *services: ServiceSpec, gpus: int = 0) -> None:
        inventory = Inventory(
            gpus=tuple(Gpu(index=i, uuid=f"GPU-{i}", name="A100", memory_total=1, memory_used=0) for i in range(gpus))
        )
        self.keeper = Keeper()
        self.changes: list[Change] = []
        self.app = App(
            AppSpec(name="a", root=Path("/"), entry=services[0].name, services={s.name: s for s in services}),
            processes=self.keeper.processes,
            launcher=Launcher(),  # type: ignore[arg-type]  # a thin stand-in
            ledger=Ledger(inventory),
            chance=lambda: 0.5,
            tell=self.changes.append,
        )

    def replica(self, name: str) -> Replica:
        return next(replica for replica in self.app.replicas() if replica.name == name)

    async def say(self, name: str, happening: Happening) -> None:
        self.replica(name).post(happening)
        await trio.testing.wait_all_tasks_blocked()

    async def all_ready(self) -> None:
        for replica in self.app.replicas():
            await self.say(replica.name, Happening.READY)


@contextlib.asynccontextmanager
async def running(scene: Scene, tmp_path: Path) -> AsyncIterator[Scene]:
    with listen(str(tmp_path / "l.sock")) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.app.run, listener)
            await trio.testing.wait_all_tasks_blocked()
            yield scene
            await scene.app.stop()


async def test_every_process_is_spawned_at_once_and_the_app_is_ready_when_all_are(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", "Base"), service("Base", replicas=2)), tmp_path) as scene:
        assert sorted(scene.keeper.spawned()) == ["Base/0#1", "Base/1#1", "Top/0#1"]
        await scene.say("Base/0", Happening.READY)
        assert not scene.app.outcome.ready.is_set()
        await scene.say("Top/0", Happening.READY)
        assert scene.app.outcome.ready.is_set()


async def test_a_replica_is_held_until_what_it_needs_has_been_ready(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with (
        running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene,
        trio.open_nursery() as nursery,
    ):
        held = trio.Event()

        async def imported() -> None:
            await scene.app.dependencies_ready(scene.replica("Top/0"))
            held.set()

        nursery.start_soon(imported)
        await trio.testing.wait_all_tasks_blocked()
        assert scene.replica("Top/0").reason == "waiting for Base"
        assert not held.is_set()
        await scene.say("Base/0", Happening.READY)
        assert held.is_set()
        assert scene.replica("Top/0").reason == ""


async def test_a_worker_may_be_heard_before_the_keeper_and_is_held_without_a_limit_all_the_same(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Its start limit begins with the first that tells of its exec, and the second changes nothing."""
    scene = Scene(service("Top", "Base"), service("Base"))
    scene.keeper.unsaid = []
    async with running(scene, tmp_path), trio.open_nursery() as nursery:
        top, limit = scene.replica("Top/0"), scene.replica("Top/0").spec.limits.start
        await trio.sleep(10 * limit)
        assert (top.generation, scene.keeper.signalled()) == (1, [])
        _, identity, _ = Launcher().order(top)
        hello = {"role": "replica", **asdict(identity)}
        channel = await connect(str(tmp_path / "l.sock"), nursery=nursery, identity=hello)
        await trio.sleep(limit / 2)
        nursery.start_soon(channel.call, "imported", {})
        await trio.testing.wait_all_tasks_blocked()
        assert top.reason == "waiting for Base"
        scene.keeper.processes.dispatch(next(each for each in scene.keeper.unsaid if each.id == "Top/0#1"))
        await trio.sleep(10 * limit)
        assert top.reason == "waiting for Base"
        await scene.say("Base/0", Happening.READY)
        await trio.sleep(limit + 1)
        assert [end.reason for end in top.endings] == [f"not ready within its start limit of {limit:g} s"]
        nursery.cancel_scope.cancel()


async def test_an_optional_dependency_holds_up_neither_its_caller_nor_the_app(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", "Extra", optional=True), service("Extra")), tmp_path) as scene:
        await scene.app.dependencies_ready(scene.replica("Top/0"))
        await scene.say("Top/0", Happening.READY)
        assert scene.app.outcome.ready.is_set()


async def test_callers_stop_before_what_they_call(tmp_path: Path, autojump_clock: MockClock) -> None:
    diamond = (service("Top", "Left", "Right"), service("Left", "Base"), service("Right", "Base"), service("Base"))
    async with running(Scene(*diamond), tmp_path) as scene:
        await scene.all_ready()
    order = [name.partition("/")[0] for name in scene.keeper.signalled()]
    assert order[0] == "Top"
    assert set(order[1:3]) == {"Left", "Right"}
    assert order[3] == "Base"


async def test_a_replica_without_a_gpu_is_pending_and_starts_when_one_is_released(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("A", gpu=1), service("B", gpu=1), gpus=1), tmp_path) as scene:
        waiting = scene.replica("B/0")
        assert waiting.state is State.PENDING
        assert waiting.reason == "needs 1 GPU; 0 of 1 free, 1 held by other replicas"
        await scene.say("A/0", Happening.STOP)
        assert waiting.state is State.STARTING
        assert waiting.assignment is not None
        assert waiting.assignment.gpus == ("GPU-0",)


async def test_starts_take_turns_and_a_failure_gives_its_turn_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    scene = Scene(service("A"), service("B"), service("C"))
    scene.app._starts = Starts(scene.app.services, 1)
    async with running(scene, tmp_path) as scene, trio.open_nursery() as nursery:
        begun: list[str] = []

        async def begin(name: str) -> None:
            await scene.app.dependencies_ready(scene.replica(name))
            begun.append(name)

        for name in ("A/0", "B/0", "C/0"):
            nursery.start_soon(begin, name)
            await trio.testing.wait_all_tasks_blocked()
        assert begun == ["A/0"]
        assert scene.replica("B/0").reason == "waiting for its turn to start, after A/0 (start_parallelism)"
        assert scene.replica("C/0").state is State.STARTING
        scene.keeper.end(scene.replica("B/0").process_id, 1)  # who waits and ends holds up nobody
        await trio.testing.wait_all_tasks_blocked()
        scene.keeper.end(scene.replica("A/0").process_id, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert begun == ["A/0", "C/0"]
        nursery.cancel_scope.cancel()


async def test_calls_wait_for_a_service_that_is_restarted(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.all_ready()
        base = scene.app.services["Base"]
        told: list[tuple[str, str, int]] = []
        scene.app._tell = lambda change: told.append((change.state, base.state, len(base.staying)))
        await scene.say("Base/0", Happening.RESTART)
        await scene.say("Base/0", Happening.READY)
        assert told == [
            ("draining", "starting", 1),
            ("pending", "starting", 1),
            ("starting", "starting", 1),
            ("ready", "ready", 1),
        ]
        assert base.replicas[0].generation == 2


async def test_a_service_that_fails_before_the_app_was_ready_breaks_the_start(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        while not scene.app.outcome.broken.is_set():
            if scene.replica("Base/0").state is State.STARTING:
                scene.keeper.end(scene.replica("Base/0").process_id, 1)
            await trio.sleep(0.1)
        assert scene.app.outcome.failure.startswith("Base/0: 5 failures in a row; last: exited with status 1")


async def test_a_service_that_fails_later_leaves_the_others_alone(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.all_ready()
        while scene.replica("Base/0").state is not State.FAILED:
            if scene.replica("Base/0").state in {State.STARTING, State.READY}:
                scene.keeper.end(scene.replica("Base/0").process_id, 1)
            await trio.sleep(0.1)
        assert not scene.app.outcome.broken.is_set()
        assert scene.replica("Top/0").state is State.READY
        route = scene.app.routes("Top")["Base"]
        assert route["state"] == "failed"
        assert "5 failures in a row" in route["reason"]


@pytest.mark.parametrize("happening", [Happening.READY, Happening.HELD])
async def test_routes_name_only_what_is_ready(tmp_path: Path, autojump_clock: MockClock, happening: Happening) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.say("Base/0", happening)
        route = scene.app.routes("Top")["Base"]
        ready = happening is Happening.READY
        assert route == {
            "state": "ready" if ready else "starting",
            "scales": False,
            "reason": "",
            "version": "",
            "replicas": [["Base/0#1", "/Base/0#1", "s"]] if ready else [],
        }


async def test_scaling_up_starts_more_and_scaling_down_stops_the_newest(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", replicas=2)), tmp_path) as scene:
        await scene.all_ready()
        assert scene.app.scale("Top", 4) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(scene.keeper.spawned()) == ["Top/0#1", "Top/1#1", "Top/2#1", "Top/3#1"]
        await scene.all_ready()
        assert scene.app.scale("Top", 1) == 4
        while len(scene.app.replicas()) > 1:
            for replica in scene.app.replicas()[1:]:
                replica.post(Happening.DRAINED)
            await trio.testing.wait_all_tasks_blocked()
        assert [replica.name for replica in scene.app.replicas()] == ["Top/0"]
        assert sorted(scene.keeper.signalled()) == ["Top/1#1", "Top/2#1", "Top/3#1"]


async def test_a_scale_that_comes_before_the_one_before_it_is_done_starts_others(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(Scene(service("Top", replicas=3)), tmp_path) as scene:
        await scene.all_ready()
        scene.app.scale("Top", 1)  # nobody has run since: their states show nothing of it
        assert scene.app.scale("Top", 3) == 1
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(scene.keeper.spawned()) == [f"Top/{index}#1" for index in range(5)]
        assert sorted(replica.name for replica in scene.app.replicas()) == ["Top/0", "Top/3", "Top/4"]


async def test_an_app_that_stops_starts_nothing_more(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(Scene(service("Top", "Base"), service("Base")), tmp_path) as scene:
        await scene.all_ready()
        steps = itertools.count(2)
        scene.app._tell = lambda _change: scene.app.scale("Base", next(steps))  # the load may do so too
        await scene.app.stop()
        assert next(steps) > 4
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(scene.keeper.spawned()) == ["Base/0#1", "Top/0#1"]
