"""The queue: what is begun when, and what becomes of a task whatever whoever performs it does."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import trio

from svcd.tasks.desk import Desk
from svcd.tasks.errors import UnknownTask
from svcd.tasks.records import Claimed, Fault, Result, Submission
from svcd.tasks.runner import Lost, NotBegun, NotNow, Runner
from svcd.tasks.schema import MEMORY
from svcd.tasks.states import TaskStatus
from svcd.tasks.store import Bounds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.tasks.records import TaskInfo
    from svcd.tasks.store import Store


class Stage:
    """Performs tasks as their bodies say; counts."""

    def __init__(self) -> None:
        self.scripts: dict[str, list[Callable[[], Awaitable[bytes]]]] = {}
        """By the task's body; the last one again and again."""
        self.begun: list[str] = []
        self.running: set[str] = set()
        self.most = 0
        self.refusals = 0
        self.entered = 0
        self._changed = trio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        """Return once something is true of what runs."""
        while not condition():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def enter(self) -> Stage:
        await trio.lowlevel.checkpoint()
        if self.refusals:
            self.refusals -= 1
            raise NotNow
        self.entered += 1
        return self

    def leave(self) -> None:
        self.entered -= 1

    async def perform(self, task: Claimed) -> Result:
        name = task.body.decode()
        self.begun.append(name)
        self.running.add(name)
        self.most = max(self.most, len(self.running))
        self._tell()
        script = self.scripts.get(name, [])
        try:
            function = script.pop(0) if len(script) > 1 else (script or [partial(give, name)])[0]
            return Result(media_type="m", body=await function())
        finally:
            self.running.discard(name)
            self.leave()
            self._tell()

    def fault_of(self, task: Claimed, error: Exception) -> Fault:
        return Fault(code="remote", message=f"{task.api}: {error}")


async def give(name: str) -> bytes:
    await trio.lowlevel.checkpoint()
    return name.encode()


async def fail(error: type[Exception]) -> bytes:
    await trio.lowlevel.checkpoint()
    raise error("told")


class Rig:
    def __init__(self, runner: Runner, stage: Stage) -> None:
        self.runner = runner
        self.stage = stage

    async def submit(self, name: str, **options: Any) -> str:
        task_id = f"task-{name}"
        new = Submission(id=task_id, api="work", body=name.encode(), media_type="m", **options)
        await self.runner.step(lambda store, now: store.submit(new, now))
        return task_id

    async def ended(self, task_id: str, within: float = inf) -> TaskInfo:
        return await self.runner.ended(task_id, "work", within=within)

    async def cancel(self, task_id: str) -> TaskInfo:
        return await self.runner.step(lambda store, now: store.cancel(task_id, "work", now))


class Wall:
    now = 1e9

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def wall() -> Wall:
    return Wall()


async def started(
    nursery: trio.Nursery, wall: Wall, *, concurrency: float = inf, path: str = MEMORY, stage: Stage | None = None
) -> Rig:
    stage = stage or Stage()
    runner = Runner(Desk(path, Bounds(result_ttl=100)), stage, concurrency=concurrency, wall=wall)
    nursery.start_soon(runner.run)
    return Rig(runner, stage)


@pytest.fixture
async def rig(nursery: trio.Nursery, wall: Wall) -> Rig:
    return await started(nursery, wall)


async def test_tasks_run_in_the_order_in_which_they_came(nursery: trio.Nursery, wall: Wall) -> None:
    rig = await started(nursery, wall, concurrency=1)
    ids = [await rig.submit(str(number)) for number in range(10)]
    for task_id in ids:
        assert (await rig.ended(task_id)).status is TaskStatus.SUCCESS
    assert rig.stage.begun == [str(number) for number in range(10)]
    assert rig.stage.most == 1
    assert rig.stage.entered == 0
    result = await rig.runner.desk.do(lambda store: store.result(ids[3]))
    assert result == Result(media_type="m", body=b"3")


async def test_as_many_run_at_once_as_may(nursery: trio.Nursery, wall: Wall) -> None:
    rig = await started(nursery, wall, concurrency=3)
    gate = trio.Event()

    async def wait(name: str) -> bytes:
        await gate.wait()
        return name.encode()

    for number in range(7):
        rig.stage.scripts[str(number)] = [partial(wait, str(number))]
    ids = [await rig.submit(str(number)) for number in range(7)]
    await rig.stage.until(lambda: len(rig.stage.running) == 3)
    assert rig.runner.running == 3
    gate.set()
    for task_id in ids:
        await rig.ended(task_id)
    assert rig.stage.most == 3


async def test_what_was_not_begun_after_all_is_begun_again_and_does_not_count(rig: Rig) -> None:
    rig.stage.scripts["a"] = [partial(fail, NotBegun), partial(fail, NotBegun), partial(give, "a")]
    info = await rig.ended(await rig.submit("a"))
    assert (info.status, info.attempts) == (TaskStatus.SUCCESS, 1)
    assert rig.stage.begun == ["a"] * 3


async def test_who_cannot_begin_now_is_asked_again(rig: Rig, autojump_clock: trio.testing.MockClock) -> None:
    rig.stage.refusals = 5
    assert (await rig.ended(await rig.submit("a"))).status is TaskStatus.SUCCESS


@pytest.mark.parametrize(
    ("retries", "losses", "status"),
    [
        (0, 1, TaskStatus.LOST),
        (2, 2, TaskStatus.SUCCESS),
        (2, 3, TaskStatus.LOST),
    ],
)
async def test_a_lost_task_is_run_again_as_often_as_it_may(
    rig: Rig, retries: int, losses: int, status: TaskStatus
) -> None:
    rig.stage.scripts["a"] = [*[partial(fail, Lost)] * losses, partial(give, "a")]
    info = await rig.ended(await rig.submit("a", idempotent=retries > 0, retries=retries))
    assert info.status is status
    assert len(rig.stage.begun) == info.attempts == min(losses, retries) + 1


async def test_those_whose_replica_was_lost_run_one_at_a_time(rig: Rig) -> None:
    """One that kills its replica takes others with it only the first time."""
    together = trio.Event()

    async def die() -> bytes:
        if len(rig.stage.running) == 4:
            together.set()
        await together.wait()
        raise Lost

    suspects = 0
    most = 0

    async def alone(name: str) -> bytes:
        nonlocal suspects, most
        suspects += 1
        most = max(most, suspects)
        await trio.sleep(0.001)
        suspects -= 1
        return name.encode()

    for name in "abcd":
        rig.stage.scripts[name] = [die, partial(alone, name)]
    ids = [await rig.submit(name, idempotent=True, retries=2) for name in "abcd"]
    for task_id in ids:
        assert (await rig.ended(task_id)).status is TaskStatus.SUCCESS
    assert most == 1


async def test_what_raises_has_failed_and_says_why(rig: Rig) -> None:
    rig.stage.scripts["a"] = [partial(fail, ValueError)]
    info = await rig.ended(await rig.submit("a", idempotent=True, retries=2))
    assert (info.status, info.attempts) == (TaskStatus.FAILURE, 1)
    assert info.fault == Fault(code="remote", message="work: told")


async def test_cancelling_ends_what_runs_and_what_waits(nursery: trio.Nursery, wall: Wall) -> None:
    rig = await started(nursery, wall, concurrency=1)
    rig.stage.scripts["a"] = [trio.sleep_forever]  # type: ignore[list-item]  # it gives nothing, ever
    running, waiting = await rig.submit("a"), await rig.submit("b")
    await rig.stage.until(lambda: rig.stage.running)
    assert (await rig.cancel(waiting)).status is TaskStatus.CANCELLED
    assert (await rig.cancel(running)).status is TaskStatus.CANCELLED
    assert (await rig.cancel(running)).status is TaskStatus.CANCELLED
    await rig.stage.until(lambda: not rig.stage.running)
    assert (await rig.ended(await rig.submit("c"))).status is TaskStatus.SUCCESS
    assert rig.stage.begun == ["a", "c"]


async def test_a_cancellation_that_comes_too_late_changes_nothing(rig: Rig) -> None:
    task_id = await rig.submit("a")
    await rig.ended(task_id)
    assert (await rig.cancel(task_id)).status is TaskStatus.SUCCESS


async def test_who_waits_is_told_at_the_end_or_when_it_has_waited_long_enough(rig: Rig) -> None:
    rig.stage.scripts["a"] = [trio.sleep_forever]  # type: ignore[list-item]  # as above
    task_id = await rig.submit("a")
    assert (await rig.ended(task_id, within=0.01)).status in (TaskStatus.QUEUED, TaskStatus.IN_PROGRESS)
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            assert (await rig.ended(task_id)).status is TaskStatus.CANCELLED

        nursery.start_soon(wait)
        await rig.cancel(task_id)


async def test_ended_tasks_are_forgotten(rig: Rig, wall: Wall, autojump_clock: trio.testing.MockClock) -> None:
    task_id = await rig.submit("a")
    await rig.ended(task_id)
    wall.now += 99
    await trio.sleep(3)
    assert (await rig.ended(task_id)).status is TaskStatus.SUCCESS
    wall.now += 2
    with pytest.raises(UnknownTask):
        await rig.ended(task_id)

    def inputs(store: Store) -> int:
        count: int = store.connection.execute("SELECT count(*) FROM inputs").fetchone()[0]
        return count

    while await rig.runner.desk.do(inputs):  # noqa: ASYNC110  (nothing tells)
        await trio.sleep(1)  # the sweep's pace


async def test_draining_finishes_what_runs_and_begins_nothing(nursery: trio.Nursery, wall: Wall) -> None:
    rig = await started(nursery, wall, concurrency=1)
    gate = trio.Event()

    async def wait() -> bytes:
        await gate.wait()
        return b"done"

    rig.stage.scripts["a"] = [wait]
    first = await rig.submit("a")
    await rig.stage.until(lambda: rig.stage.running)
    second = await rig.submit("b")
    async with trio.open_nursery() as draining:
        draining.start_soon(rig.runner.drain)
        await trio.testing.wait_all_tasks_blocked()
        gate.set()
    assert (await rig.ended(first)).status is TaskStatus.SUCCESS
    assert (await rig.ended(second, within=0)).status is TaskStatus.QUEUED


async def test_an_outcome_is_noted_once_the_disk_takes_it(rig: Rig, autojump_clock: trio.testing.MockClock) -> None:
    async def large() -> bytes:
        return bytes(1_000_000)

    rig.stage.scripts["a"] = [large]

    def limit(store: Store, pages: int) -> None:
        store.connection.execute(f"PRAGMA max_page_count = {pages}")

    await rig.runner.desk.do(partial(limit, pages=30))
    task_id = await rig.submit("a")
    await rig.stage.until(lambda: rig.stage.begun and not rig.stage.running)
    assert (await rig.ended(task_id, within=5)).status is TaskStatus.IN_PROGRESS
    await rig.runner.desk.do(partial(limit, pages=1_000_000))
    assert (await rig.ended(task_id)).status is TaskStatus.SUCCESS
    assert rig.stage.begun == ["a"]


async def test_two_processes_share_the_work_and_one_cancels_what_the_other_runs(
    nursery: trio.Nursery, wall: Wall, tmp_path: Any, autojump_clock: trio.testing.MockClock
) -> None:
    stage = Stage()
    path = str(tmp_path / "tasks.sqlite3")
    one = await started(nursery, wall, path=path, stage=stage, concurrency=1)
    two = await started(nursery, wall, path=path, stage=stage, concurrency=1)
    ids = [await one.submit(f"{number}") for number in range(20)]
    for task_id in ids:
        assert (await two.ended(task_id)).status is TaskStatus.SUCCESS
    assert sorted(stage.begun, key=int) == [str(number) for number in range(20)], "each once"
    stage.scripts["x"] = [trio.sleep_forever]  # type: ignore[list-item]  # as above
    task_id = await one.submit("x")
    await stage.until(lambda: stage.running)
    other = two if one.runner.running else one
    assert (await other.cancel(task_id)).status is TaskStatus.CANCELLED
    await stage.until(lambda: not stage.running)
