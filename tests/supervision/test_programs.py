"""Programs in a whole app over a scripted keeper: what they wait for, how they end, who is told of them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing
from test_app import Keeper, Launcher, service

from svcd.policy.lifecycle import Happening, State
from svcd.runtime.app import App
from svcd.runtime.ledger import Ledger
from svcd.values.commands import Command, Evidence, Restart, Sign
from svcd.values.orders import Notified, Spawn
from svcd.values.specs import AppSpec, DependencySpec, Limits, ServiceSpec
from svcd_ipc.server import listen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

    from svcd.runtime.replica import Replica

DONE = {"is_oneshot": True, "ready": Evidence(sign=Sign.EXIT), "restart": Restart.ON_FAILURE}


def program(name: str, *after: str, **said: Any) -> ServiceSpec:
    said = {"ready": Evidence(sign=Sign.FD, fd=3), **said}
    return ServiceSpec(
        name=name,
        target="",
        python="/usr/bin/python3",
        after=after,
        limits=Limits(start=60, drain=30, stop=5),
        command=Command(argv=("run", "{port}"), url="http://127.0.0.1:{port}", **said),
    )


class Orders(Launcher):
    """Makes the least order for programs as well."""

    def __init__(self) -> None:
        self.count = 0

    def number(self) -> int:
        self.count += 1
        return self.count

    def socket_path(self, number: int, _user: object) -> str:
        return f"/s/{number}.sock"

    def make_place(self, *_: object) -> None:
        """There are no sockets."""

    def environment(self, _replica: Replica) -> dict[str, str]:
        return {"OWN": "own"}

    def settled(self, replica: Replica, *, argv: list[str], env: dict[str, str], notify_fd: int = 0) -> Spawn:
        return Spawn(replica.process_id, argv, env, "/", b"", "", [], notify_fd=notify_fd)


class Scene:
    """An app that runs, and its keeper."""

    def __init__(self, *services: ServiceSpec, start_parallelism: int | None = None) -> None:
        self.keeper = Keeper()
        self.told: list[str] = []
        self.app = App(
            AppSpec(
                name="a",
                root=Path("/"),
                entry=services[0].name,
                services={s.name: s for s in services},
                start_parallelism=start_parallelism,
            ),
            processes=self.keeper.processes,
            launcher=Orders(),  # type: ignore[arg-type]  # a thin stand-in
            ledger=Ledger(),
            chance=lambda: 0.5,
            tell=lambda change: self.told.append(change.sentence().partition(" after")[0]),
        )

    def replica(self, name: str) -> Replica:
        return next(replica for replica in self.app.replicas() if replica.name == name)

    def state(self, name: str) -> tuple[State, str]:
        return self.replica(name).state, self.replica(name).reason

    async def end(self, process_id: str, code: int) -> None:
        self.keeper.end(process_id, code)
        await trio.testing.wait_all_tasks_blocked()

    async def notify(self, process_id: str) -> None:
        self.keeper.processes.dispatch(Notified(process_id))
        await trio.testing.wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def running(tmp_path: Path, *services: ServiceSpec, start_parallelism: int | None = None) -> AsyncIterator[Scene]:
    scene = Scene(*services, start_parallelism=start_parallelism)
    with listen(str(tmp_path / "l.sock")) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(scene.app.run, listener)
            await trio.testing.wait_all_tasks_blocked()
            yield scene
            await scene.app.stop()


async def test_a_program_is_not_started_before_what_it_comes_after(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path, program("Db", "Make"), program("Make", **DONE)) as scene:
        assert scene.keeper.spawned() == ["Make/0#1"]
        assert scene.state("Db/0") == (State.PENDING, "waiting for Make")
        await scene.end("Make/0#1", 1)
        await trio.sleep(1)
        assert scene.keeper.spawned() == ["Make/0#1", "Make/0#2"]
        await scene.end("Make/0#2", 0)
        assert scene.state("Make/0") == (State.DONE, "exited with status 0")
        assert scene.keeper.spawned()[2:] == ["Db/0#1"]
        assert not scene.app.outcome.ready.is_set()
        await scene.notify("Db/0#1")
        assert scene.state("Db/0") == (State.READY, "")
        assert scene.app.outcome.ready.is_set()


async def test_programs_take_turns_at_starting_but_for_oneshots(tmp_path: Path, autojump_clock: MockClock) -> None:
    programs = (program("A"), program("Make", **DONE), program("B"), program("C"))
    async with running(tmp_path, *programs, start_parallelism=1) as scene:
        assert sorted(scene.keeper.spawned()) == ["A/0#1", "Make/0#1"]
        told = "waiting for its turn to start, after A/0 (start_parallelism)"
        assert (scene.state("B/0"), scene.state("C/0")) == ((State.PENDING, told), (State.PENDING, told))
        scene.replica("B/0").post(Happening.STOP)
        await scene.notify("A/0#1")
        assert scene.keeper.spawned()[2:] == ["C/0#1"]
        await scene.end("C/0#1", 1)
        await scene.end("A/0#1", 1)
        await trio.sleep(1)
        assert len(scene.keeper.spawned()) == 4
        assert sorted([scene.state("A/0")[0], scene.state("C/0")[0]]) == [State.PENDING, State.STARTING]


async def test_restarts_wait_for_nobody_and_repeat_no_oneshot(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path, program("Db", "Make"), program("Make", **DONE)) as scene:
        await scene.end("Make/0#1", 0)
        await scene.notify("Db/0#1")
        await scene.end("Db/0#1", 0)
        assert scene.state("Db/0") == (State.BACKOFF, "exited with status 0")
        await trio.sleep(1)
        assert scene.keeper.spawned() == ["Make/0#1", "Db/0#1", "Db/0#2"]
        scene.replica("Make/0").post(Happening.RESTART, "asked for")
        await trio.sleep(1)
        assert scene.keeper.spawned()[3:] == ["Make/0#2"]


async def test_one_that_is_given_up_while_it_waits_is_gone(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with running(tmp_path, program("Db", "Make"), program("Make", **DONE)) as scene:
        scene.replica("Db/0").post(Happening.STOP)
        await scene.replica("Db/0").stopped.wait()
        await scene.end("Make/0#1", 0)
        assert scene.keeper.spawned() == ["Make/0#1"]


async def test_a_class_is_held_before_its_init_by_a_oneshot_and_told_of_a_url(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    front = ServiceSpec(
        name="Front",
        target="m:Front",
        python="",
        after=("Make",),
        dependencies=(DependencySpec(name="db", service="Db"),),
    )
    async with (
        running(tmp_path, front, program("Db"), program("Make", **DONE)) as scene,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(scene.app.dependencies_ready, scene.replica("Front/0"))
        await trio.testing.wait_all_tasks_blocked()
        assert scene.state("Front/0") == (State.STARTING, "waiting for Db, Make")
        assert scene.app.routes("Front")["Db"].items() >= {"state": "starting", "replicas": [], "urls": []}.items()
        await scene.notify("Db/0#1")
        assert scene.state("Front/0") == (State.STARTING, "waiting for Make")
        await scene.end("Make/0#1", 0)
        assert scene.state("Front/0") == (State.STARTING, "")
        (url,) = scene.app.routes("Front")["Db"]["urls"]
        spawned = next(order for order in scene.keeper.orders if isinstance(order, Spawn) and order.id == "Db/0#1")
        assert url == f"http://127.0.0.1:{spawned.argv[1]}"
        assert spawned.env.pop("SOCKET") in {"/s/1.sock", "/s/2.sock"}  # whoever is started first has the first
        assert spawned.env == {"OWN": "own", "PORT": spawned.argv[1]}
        assert spawned.notify_fd == 3


@pytest.mark.parametrize("is_used", [True, False])
async def test_one_whose_url_somebody_has_runs_on_for_the_drain_limit(
    tmp_path: Path, autojump_clock: MockClock, is_used: bool
) -> None:
    top = service("Top", "Db") if is_used else service("Top")
    async with running(tmp_path, top, program("Db")) as scene:
        await scene.notify("Db/0#1")
        scene.replica("Db/0").post(Happening.STOP)
        await trio.sleep(29)
        assert scene.replica("Db/0").stopped.is_set() is not is_used
        assert ("Db" in scene.app.routes("Top")) is is_used
        if is_used:
            assert scene.app.routes("Top")["Db"]["urls"] == []
        await trio.sleep(2)
        assert scene.replica("Db/0").stopped.is_set()


@pytest.mark.parametrize(
    ("restart", "code", "state", "reason"),
    [
        (Restart.ALWAYS, 0, State.BACKOFF, "exited with status 0"),
        (Restart.ON_FAILURE, 0, State.DONE, "exited with status 0"),
        (Restart.ON_FAILURE, 3, State.BACKOFF, "exited with status 3"),
        (Restart.NEVER, 0, State.DONE, "exited with status 0"),
        (Restart.NEVER, 3, State.FAILED, "exited with status 3, and it is never started again"),
        (Restart.NEVER, -9, State.FAILED, "killed by SIGKILL, and it is never started again"),
    ],
)
async def test_an_end_is_what_its_restart_makes_of_it(
    tmp_path: Path, autojump_clock: MockClock, restart: Restart, code: int, state: State, reason: str
) -> None:
    async with running(tmp_path, program("Db", restart=restart)) as scene:
        await scene.notify("Db/0#1")
        await scene.end("Db/0#1", code)
        assert scene.state("Db/0") == (state, reason)


async def test_one_that_is_too_late_says_what_it_lacks_and_gets_no_sigquit(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async with running(tmp_path, program("Db")) as scene:
        scene.replica("Db/0").attempt.hint = "GET /health was answered 503"
        await trio.sleep(61)
        assert "Db/0: starting -> backoff" in scene.told
        assert scene.replica("Db/0").last_exit == "killed by SIGTERM"  # as the scripted keeper has it
        assert scene.replica("Db/0").failures == 1
        assert scene.keeper.signalled() == []
