"""Services whose `async def` code runs on asyncio, within one process."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)
from typing import Any

import asyncio_services
import pytest
import trio
import trio.testing
from asyncio_services import LIMIT, OddError, OnAsyncio, Record

import svcd
from svcd.app.load import LoadError


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Give the services a record of this test alone."""
    monkeypatch.setattr(asyncio_services, "RECORD", Record())
    return asyncio_services.RECORD


async def test_its_code_runs_on_one_asyncio_loop(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app:
        assert await app.where() == ["asyncio", True, 2, 2]
        assert await app.plain_thread() == [1, 4, 6]
    assert record.notes == ["closed, background running"]


def test_it_works_from_code_that_blocks() -> None:
    with svcd.local(OnAsyncio) as app:
        assert app.where() == ["asyncio", True, 2, 2]
        assert list(app.squares(n=4)) == [0, 1, 4, 9]


async def test_dependencies_are_awaited_as_usual() -> None:
    async with svcd.local(OnAsyncio) as app:
        assert await app.gathered(x=1) == [2, 4, 6, 8, 10, 2]
        assert await app.items(n=5) == [0, 1, 2, 3, 4]


async def test_many_at_once() -> None:
    async with svcd.local(OnAsyncio) as app, trio.open_nursery() as nursery:
        results: dict[int, Any] = {}

        async def call(x: int) -> None:
            results[x] = await app.gathered(x=x)

        for x in range(50):
            nursery.start_soon(call, x)
    assert results == {x: [2 * x, 2 * x + 2, 2 * x + 4, 2 * x + 6, 2 * x + 8, 2 * x] for x in range(50)}


async def test_a_blocking_call_is_a_clear_error() -> None:
    async with svcd.local(OnAsyncio) as app:
        with pytest.raises(
            svcd.RemoteError, match=r"would block the asyncio loop; write `await self\.on_trio\.to_async"
        ):
            await app.blocking()


async def test_the_first_error_of_a_gather_cancels_the_others(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app:
        with pytest.raises(OddError, match="three is odd"):
            await app.first_fails()
        assert await trio.to_thread.run_sync(record.over.wait, LIMIT)
    assert record.notes[0] == "hang cancelled"


async def test_streams_run_in_one_task_and_end_with_their_reader(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app:
        assert [i async for i in app.squares(n=5)] == [0, 1, 4, 9, 16]
        assert record.notes == ["upto ended", "squares ended"]
        record.notes.clear()
        stream = app.squares(n=10**9)
        assert [await anext(stream) for _ in range(3)] == [0, 1, 4]
        await stream.aclose()
        assert await trio.to_thread.run_sync(record.over.wait, LIMIT)
        await app.left()


async def test_an_error_after_three_items_arrives_after_three_items() -> None:
    async with svcd.local(OnAsyncio) as app:
        items = app.fail_at(n=3)
        assert [await anext(items) for _ in range(3)] == [0, 1, 2]
        with pytest.raises(OddError, match="no 3 here"):
            await anext(items)


async def test_streams_as_arguments_both_ways(record: Record) -> None:
    async def numbers() -> AsyncIterator[int]:
        for i in range(5):
            await trio.lowlevel.checkpoint()
            yield i

    async with svcd.local(OnAsyncio) as app:
        assert await app.total(items=numbers()) == 10
        assert await app.total(items=[1, 2]) == 3
        assert await app.pass_on(n=5) == [10, 10]
    assert "numbers ended" in record.notes


async def test_cancellation_reaches_it_and_waits_for_its_end(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.hang)
            await trio.to_thread.run_sync(record.begun.wait, LIMIT)
            nursery.cancel_scope.cancel()
        assert record.notes == ["cancelled", "cleaned up"]


async def test_cancellation_goes_through_it(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.hang_below)
            await trio.to_thread.run_sync(record.begun.wait, LIMIT)
            nursery.cancel_scope.cancel()
        assert await trio.to_thread.run_sync(record.over.wait, LIMIT)
        record.over.clear()
        assert await app.time_out_below() == "timed out"
        assert await trio.to_thread.run_sync(record.over.wait, LIMIT)


async def test_deadlines_reach_it_and_go_through_it(record: Record) -> None:
    @svcd.service
    class Hasty:
        below = svcd.depends(OnAsyncio, timeout=0.05)

        @svcd.api
        async def hang(self) -> None:
            await self.below.hang()

    @svcd.service
    class Patient:
        below = svcd.depends(OnAsyncio, timeout=30)

        @svcd.api
        async def remaining(self) -> list[float]:
            return await self.below.remaining()

    async with svcd.local(Hasty) as app:
        with pytest.raises(svcd.DeadlineExceeded):
            await app.hang()
        assert record.notes == ["cancelled", "cleaned up"]
    async with svcd.local(Patient) as app:
        first, second = await app.remaining()
        assert 30 >= first >= second > 25


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("odd", OddError, "odd"),
        ("below", OddError, "three is odd"),
        ("exit", svcd.RemoteError, "SystemExit: 3"),
    ],
)
async def test_errors_come_as_from_other_code(kind: str, error: type[Exception], message: str) -> None:
    async with svcd.local(OnAsyncio) as app:
        with pytest.raises(error, match=message) as caught:
            await app.fail(kind=kind)
        told = caught.value.__cause__ if error is OddError else caught.value
        assert "in fail" in told.remote_traceback
        assert kind == "below" or "aio.py" not in told.remote_traceback  # the frames before the service's own
        with pytest.raises(svcd.RemoteError, match="the asyncio task was cancelled by the service's own code"):
            await app.cancel_itself()
        assert (await app.where())[0] == "asyncio"


async def test_asyncios_network_processes_and_threads_work() -> None:
    async with svcd.local(OnAsyncio) as app:
        assert await app.network_and_processes() == ["hello", "child", "3"]


async def test_a_task_left_running_cannot_end_it(capfd: pytest.CaptureFixture[str]) -> None:
    async with svcd.local(OnAsyncio) as app:
        await app.leave_a_task_that_exits()
        for _ in range(3):
            assert (await app.where())[0] == "asyncio"
    assert "SystemExit: 4" in capfd.readouterr().err


async def test_batches_run_there_too(record: Record) -> None:
    async with svcd.local(OnAsyncio) as app, trio.open_nursery() as nursery:
        results: dict[int, Any] = {}

        async def call(x: int) -> None:
            results[x] = await app.batch(x=[x])

        for x in range(20):
            nursery.start_soon(call, x)
    assert results == {x: [2 * x] for x in range(20)}
    assert len(record.notes) < 10


def test_a_misspelt_backend_is_told() -> None:
    @svcd.service(async_backend="asincio")
    class Misspelt: ...

    with pytest.raises(LoadError, match=r"async_backend = 'asincio'.*trio or asyncio"), svcd.local(Misspelt):
        pass


def test_nothing_is_left() -> None:
    with svcd.local(OnAsyncio) as app:
        app.where()
        assert _asyncio_threads()
    assert not _asyncio_threads()


def _asyncio_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.endswith("-asyncio")]
