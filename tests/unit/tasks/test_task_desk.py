"""The thread with the store: shared transactions, files that are not what they should be, disks that are full."""

# ruff: noqa: ASYNC240  (files in a temporary directory, and nothing else that would have to go on)

from __future__ import annotations

import sqlite3
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from svcd.tasks.desk import Desk
from svcd.tasks.errors import QueueFull, StoreUnusable, TaskExists, UnknownTask
from svcd.tasks.records import Result, Submission
from svcd.tasks.schema import APPLICATION_ID, open_file
from svcd.tasks.states import TaskStatus
from svcd.tasks.store import Bounds, Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from svcd.tasks.records import TaskInfo


def new(number: int, *, api: str = "work", body: bytes = b"in", idempotent: bool = False) -> Submission:
    return Submission(id=f"task-{number:04}", api=api, body=body, media_type="m", idempotent=idempotent)


def submit(submission: Submission, store: Store) -> TaskInfo:
    return store.submit(submission, 1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "tasks.sqlite3"


@pytest.fixture
async def desk(path: Path) -> AsyncIterator[Desk]:
    desk = Desk(str(path), Bounds(max_queued=200))
    yield desk
    await desk.aclose()


async def test_what_was_done_is_on_disk_and_nobody_elses_to_read(desk: Desk, path: Path) -> None:
    await desk.do(partial(submit, new(1)))
    with sqlite3.connect(path) as other:
        assert other.execute("SELECT id, state FROM tasks").fetchall() == [("task-0001", "queued")]
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    assert await desk.do(lambda store: store.connection.execute("PRAGMA synchronous").fetchone()) == (2,)  # FULL
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_steps_that_come_together_share_a_transaction_and_fail_alone(desk: Desk) -> None:
    await desk.do(lambda store: None)
    commits: list[str] = []
    await desk.do(lambda store: store.connection.set_trace_callback(commits.append))
    kinds: list[str] = []

    async def one(number: int) -> None:
        try:
            await desk.do(partial(submit, new(number, api="other" if number == 7 else "work")))
        except TaskExists:
            kinds.append("exists")

    await desk.do(partial(submit, new(7)))
    commits.clear()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(one, number)
    assert kinds == ["exists"]
    assert (await desk.do(lambda store: store.counts()))[0] == 100
    assert commits.count("COMMIT") < 20, "a hundred steps are a few transactions"


async def test_a_full_queue_accepts_no_more_until_there_is_room(desk: Desk) -> None:
    for number in range(200):
        await desk.do(partial(submit, new(number)))
    with pytest.raises(QueueFull, match=r"200 tasks wait already \(max_queued"):
        await desk.do(partial(submit, new(200)))
    await desk.do(lambda store: store.claim(1.0))
    await desk.do(partial(submit, new(200)))


async def test_what_does_not_fit_on_the_disk_is_refused_whole_and_what_runs_can_be_noted_later(desk: Desk) -> None:
    await desk.do(partial(submit, new(1)))
    await desk.do(lambda store: store.claim(1.0))
    pages = await desk.do(lambda store: store.connection.execute("PRAGMA page_count").fetchone()[0])
    await desk.do(lambda store: store.connection.execute(f"PRAGMA max_page_count = {pages + 2}"))
    with pytest.raises(StoreUnusable, match=r"cannot grow: .*; free space on its disk") as caught:
        await desk.do(partial(submit, new(2, body=bytes(100_000))))
    assert caught.value.is_full
    with pytest.raises(UnknownTask):
        await desk.do(lambda store: store.info("task-0002", "work", 1.0))
    result = Result(media_type="r", body=bytes(100_000))
    with pytest.raises(StoreUnusable):
        await desk.do(lambda store: store.succeed("task-0001", result, 2.0))
    assert (await desk.do(lambda store: store.info("task-0001", "work", 2.0))).status is TaskStatus.IN_PROGRESS
    await desk.do(lambda store: store.connection.execute("PRAGMA max_page_count = 1000000"))
    assert await desk.do(lambda store: store.succeed("task-0001", result, 2.0))
    assert await desk.do(lambda store: store.result("task-0001")) == result
    assert not desk.trouble


async def test_one_that_is_too_large_does_not_fail_the_others_of_its_transaction(desk: Desk) -> None:
    await desk.do(partial(submit, new(1)))
    pages = await desk.do(lambda store: store.connection.execute("PRAGMA page_count").fetchone()[0])
    await desk.do(lambda store: store.connection.execute(f"PRAGMA max_page_count = {pages + 2}"))
    accepted: list[int] = []

    async def one(number: int) -> None:
        body = bytes(100_000) if number == 12 else b""
        try:
            await desk.do(partial(submit, new(number, body=body)))
        except StoreUnusable:
            return
        accepted.append(number)

    async with trio.open_nursery() as nursery:
        for number in range(10, 15):
            nursery.start_soon(one, number)
    assert sorted(accepted) == [10, 11, 13, 14]


async def test_the_store_has_a_size(path: Path) -> None:
    desk = Desk(str(path), Bounds(max_size=300_000))
    await desk.do(partial(submit, new(1, body=bytes(100_000))))
    with pytest.raises(StoreUnusable, match=r"more than 300000 \(max_size under \[app.tasks\]\)") as caught:
        await desk.do(partial(submit, new(2, body=bytes(200_000))))
    assert caught.value.is_full
    await desk.do(lambda store: store.cancel("task-0001", "work", 2.0))
    await desk.do(lambda store: store.expire(1e9))
    await desk.do(partial(submit, new(2, body=bytes(200_000))))
    await desk.aclose()


async def test_a_damaged_file_is_named_with_what_to_do_and_can_be_moved_away(desk: Desk, path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database, but long enough to be looked at as one" * 100)
    with pytest.raises(StoreUnusable, match=r"tasks\.sqlite3 is damaged: file is not a database; try .* move it away"):
        await desk.do(partial(submit, new(1)))
    path.rename(path.with_name("kept"))
    await desk.do(partial(submit, new(1)))
    assert not desk.trouble


async def test_damage_found_later_is_told_too(path: Path) -> None:
    first = Desk(str(path), Bounds())
    for number in range(50):
        await first.do(partial(submit, new(number, body=bytes(2000))))
    await first.aclose()
    data = bytearray(path.read_bytes())
    for page in range(1, len(data) // 4096):
        data[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    path.write_bytes(data)
    said: list[str] = []
    desk = Desk(str(path), Bounds(), said.append)
    with pytest.raises(StoreUnusable, match="is damaged: "):
        await desk.do(partial(submit, new(100)))
    assert len(said) == 1
    await desk.aclose()


async def test_a_file_that_is_moved_away_while_in_use_is_let_go_of(desk: Desk, path: Path) -> None:
    await desk.do(partial(submit, new(1)))
    for name in ("", "-wal", "-shm"):
        (path.parent / f"tasks.sqlite3{name}").rename(path.parent / f"old{name}")
    await desk.do(partial(submit, new(2)))
    with sqlite3.connect(path) as there:
        assert there.execute("SELECT id FROM tasks").fetchall() == [("task-0002",)]
    there.close()


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["CREATE TABLE customers (id)"], "is a database, but no task store"),
        (
            [f"PRAGMA application_id = {APPLICATION_ID}", "PRAGMA user_version = 2", "CREATE TABLE tasks (id)"],
            "has schema 2, and this svcd knows 1 only: run the svcd that wrote it, or move the file away",
        ),
    ],
    ids=["somebody else's", "a later svcd's"],
)
async def test_other_files_are_left_alone(desk: Desk, path: Path, statements: list[str], message: str) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as other:
        for statement in statements:
            other.execute(statement)
    other.close()
    before = path.read_bytes()
    with pytest.raises(StoreUnusable, match=message):
        await desk.do(partial(submit, new(1)))
    assert path.read_bytes() == before


async def test_a_place_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    desk = Desk(str(tmp_path / "file" / "tasks.sqlite3"), Bounds())
    with pytest.raises(StoreUnusable, match=r"cannot be opened: .*; `store` under \[app.tasks\] names another place"):
        await desk.do(partial(submit, new(1)))
    await desk.aclose()


async def test_two_processes_share_a_file_and_a_death_is_seen_at_once(desk: Desk, path: Path) -> None:
    for number, idempotent in ((1, False), (2, True)):
        await desk.do(partial(submit, new(number, idempotent=idempotent)))
    other = Desk(str(path), Bounds())
    for _ in range(2):
        assert await other.do(lambda store: store.claim(2.0))
    assert await desk.do(lambda store: store.claim(2.0)) is None
    assert await desk.do(lambda store: store.recover(3.0)) == (0, 0), "its owner lives"
    await other.aclose()
    assert await desk.do(lambda store: store.recover(3.0)) == (1, 1)
    lost = await desk.do(lambda store: store.info("task-0001", "work", 3.0))
    assert (lost.status, lost.fault and lost.fault.code) == (TaskStatus.LOST, "lost")
    again = await desk.do(lambda store: store.claim(3.0))
    assert again is not None
    assert (again.id, again.attempt) == ("task-0002", 1)


async def test_many_may_open_a_file_that_is_not_there_yet(path: Path) -> None:
    desks = [Desk(str(path), Bounds()) for _ in range(8)]

    async def one(number: int) -> None:
        await desks[number].do(partial(submit, new(number)))
        await desks[number].aclose()

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(one, number)
    connection = open_file(str(path))
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (8,)
    connection.close()


async def test_a_step_that_was_handed_in_is_not_cancelled(desk: Desk) -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(desk.do, partial(submit, new(1)))
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert (await desk.do(lambda store: store.counts())) == (1, 0)


async def test_a_closed_desk_does_nothing_more(desk: Desk) -> None:
    await desk.aclose()
    with pytest.raises(StoreUnusable, match="is closed: svcd is stopping"):
        await desk.do(partial(submit, new(1)))
