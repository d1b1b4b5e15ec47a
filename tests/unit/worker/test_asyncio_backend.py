"""Services whose `async def` code runs on asyncio, within one process."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator  # noqa: TC003  (annotations of apis are read at run time)
from typing import Any

import anyio.lowlevel
import pytest
import sniffio
import trio
import trio.testing

import svcd
from svcd.app.load import LoadError

LIMIT = 20.0


class Record:
    """What the services of one test saw."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun = threading.Event()
        self.over = threading.Event()


RECORD = Record()


@pytest.fixture(autouse=True)
def record() -> Record:
    global RECORD  # noqa: PLW0603  (what the services below write to)
    RECORD = Record()
    return RECORD


class OddError(Exception):
    pass


@svcd.service
class OnTrio:
    @svcd.api
    async def double(self, x: int) -> int:
        await trio.lowlevel.checkpoint()
        return 2 * x

    @svcd.api
    def plainly(self, x: int) -> int:
        return 2 * x

    @svcd.api
    async def upto(self, n: int) -> AsyncIterator[int]:
        try:
            for i in range(n):
                yield i
                await trio.lowlevel.checkpoint()
        finally:
            RECORD.notes.append("upto ended")
            RECORD.over.set()

    @svcd.api
    async def total(self, items: AsyncIterator[int]) -> int:
        return sum([item async for item in items])

    @svcd.api
    async def hang(self) -> None:
        RECORD.begun.set()
        try:
            await trio.sleep_forever()
        finally:
            RECORD.notes.append("hang cancelled")
            RECORD.over.set()

    @svcd.api
    async def fail(self) -> None:
        raise OddError("three is odd")

    @svcd.api
    async def remaining(self) -> float:
        return svcd.current_call().remaining()


@svcd.service(async_backend="asyncio")
class OnAsyncio:
    on_trio = svcd.depends(OnTrio)

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.from_init = self.on_trio.plainly(x=1)

    @svcd.on_startup
    async def open(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.background = asyncio.create_task(asyncio.sleep(1000))
        self.from_startup = await self.on_trio.double(x=1)

    @svcd.on_shutdown
    async def close(self) -> None:
        assert asyncio.get_running_loop() is self.loop
        RECORD.notes.append(f"closed, background {'gone' if self.background.done() else 'running'}")

    @svcd.api
    async def where(self) -> list[object]:
        await asyncio.sleep(0)
        await anyio.lowlevel.checkpoint()
        same = asyncio.get_running_loop() is self.loop
        return [sniffio.current_async_library(), same, self.from_init, self.from_startup]

    @svcd.api
    def plain_thread(self) -> list[int]:
        return [int(threading.get_ident() == self.thread), self.on_trio.plainly(x=2), self.on_trio.to_sync.double(x=3)]

    @svcd.api
    async def gathered(self, x: int) -> list[int]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.on_trio.double(x=x))
        return [
            *await asyncio.gather(self.on_trio.double(x=x), self.on_trio.plainly.to_async(x=x + 1)),
            *await svcd.gather(self.on_trio.double(x=x + 2), self.on_trio.double(x=x + 3)),
            await asyncio.wait_for(self.on_trio.double(x=x + 4), 5),
            task.result(),
        ]

    @svcd.api
    async def blocking(self) -> int:
        return self.on_trio.plainly(x=1)

    @svcd.api
    async def first_fails(self) -> None:
        await svcd.gather(self.on_trio.hang(), self.on_trio.fail())

    @svcd.api
    async def items(self, n: int) -> list[int]:
        return [i async for i in self.on_trio.upto(n=n)]

    @svcd.api
    async def left(self) -> None:
        async for i in self.on_trio.upto(n=10**9):
            if i == 3:
                break
        gc.collect()

    @svcd.api
    async def squares(self, n: int) -> AsyncIterator[int]:
        async with asyncio.timeout(LIMIT), asyncio.TaskGroup():  # both belong to one task
            try:
                async for i in self.on_trio.upto(n=n):
                    await asyncio.sleep(0)
                    yield i * i
            finally:
                await asyncio.sleep(0)
                RECORD.notes.append("squares ended")

    @svcd.api
    async def fail_at(self, n: int) -> AsyncIterator[int]:
        for i in range(n):
            yield i
        raise OddError(f"no {n} here")

    @svcd.api
    async def total(self, items: AsyncIterator[int]) -> int:
        total = 0
        async for item in items:
            await asyncio.sleep(0)
            total += item
        return total

    @svcd.api
    async def pass_on(self, n: int) -> list[int]:
        async def numbers() -> AsyncIterator[int]:
            try:
                for i in range(n):
                    await asyncio.sleep(0)
                    yield i
            finally:
                RECORD.notes.append("numbers ended")

        return [await self.on_trio.total(numbers()), await self.on_trio.total(iter(range(n)))]

    @svcd.api
    async def hang(self, politely: bool = True) -> str:
        RECORD.begun.set()
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            RECORD.notes.append("cancelled")
            await asyncio.sleep(0.01)
            RECORD.notes.append("cleaned up")
            RECORD.over.set()
            if politely:
                raise
        return "not gone"

    @svcd.api
    async def hang_below(self) -> None:
        await self.on_trio.hang()

    @svcd.api
    async def time_out_below(self) -> str:
        try:
            async with asyncio.timeout(0.02):
                await self.on_trio.hang()
        except TimeoutError:
            return "timed out"
        return "no"

    @svcd.api
    async def cancel_itself(self) -> None:
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    @svcd.api
    async def fail(self, kind: str) -> None:
        if kind == "exit":
            raise SystemExit(3)
        if kind == "below":
            await self.on_trio.fail()
        raise OddError(kind)

    @svcd.api
    async def network_and_processes(self) -> list[str]:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"hello\n")
            told = await reader.readline()
            writer.close()
            await writer.wait_closed()
        process = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        return [told.decode().strip(), out.decode().strip(), await asyncio.to_thread(str, 3)]

    @svcd.api
    async def leave_a_task_that_exits(self) -> None:
        async def leave() -> None:
            raise SystemExit(4)

        self.background = asyncio.create_task(leave())

    @svcd.api
    async def remaining(self) -> list[float]:
        return [svcd.current_call().remaining(), await self.on_trio.remaining()]

    @svcd.api(batchable=True)
    async def batch(self, x: list[int]) -> list[int]:
        RECORD.notes.append(f"{len(x)} rows")
        await asyncio.sleep(0.01)
        return [2 * row for row in x]


async def test_its_code_runs_on_one_asyncio_loop() -> None:
    async with svcd.local(OnAsyncio) as app:
        assert await app.where() == ["asyncio", True, 2, 2]
        assert await app.plain_thread() == [1, 4, 6]
    assert RECORD.notes == ["closed, background running"]


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


async def test_deadlines_reach_it_and_go_through_it() -> None:
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
        assert RECORD.notes == ["cancelled", "cleaned up"]
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
