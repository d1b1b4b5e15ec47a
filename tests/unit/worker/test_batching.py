"""Batches through a running service: who waits, who leaves, who fails, and who gets which rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import batching_services
import numpy as np
import pytest
import trio
import trio.testing
from batching_services import KERNEL, Model, OddError, Record

import svcd


@pytest.fixture(autouse=True)
def record(monkeypatch: pytest.MonkeyPatch) -> Record:
    """Give the services a record of this test alone."""
    monkeypatch.setattr(batching_services, "RECORD", Record())
    return batching_services.RECORD


async def test_64_callers_share_their_runs(autojump_clock: trio.testing.MockClock, record: Record) -> None:
    async with svcd.local(Model) as app:
        start = trio.current_time()

        async def calls(number: int) -> None:
            for _ in range(20):
                np.testing.assert_array_equal(await app.embed(x=np.array([number])), [2 * number])

        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(calls, number)
        assert sum(record.sizes) == 64 * 20
        assert sum(record.sizes) / len(record.sizes) >= 32
        assert record.sizes == [1, 63, *[64] * 19]  # once they have met, they stay together
        assert trio.current_time() - start == pytest.approx(len(record.sizes) * KERNEL, abs=KERNEL)


async def test_a_lone_caller_does_not_wait_after_a_burst(
    autojump_clock: trio.testing.MockClock, record: Record
) -> None:
    async with svcd.local(Model) as app:
        async with trio.open_nursery() as nursery:
            for number in range(64):
                nursery.start_soon(partial(app.embed, x=np.array([number])))
        assert record.sizes == [1, 63]
        for _ in range(5):
            start = trio.current_time()
            await app.embed(x=np.array([0]))
            assert trio.current_time() - start == pytest.approx(KERNEL)


async def test_a_lone_caller_never_waits_for_company(autojump_clock: trio.testing.MockClock) -> None:
    async with svcd.local(Model) as app:
        for pause in (0, 0, 0.001, 0, 0.1, 0):
            await trio.sleep(pause)
            start = trio.current_time()
            await app.embed(x=np.zeros(3))
            assert trio.current_time() - start == pytest.approx(KERNEL, abs=1e-9)


async def test_a_call_of_many_rows_is_run_in_pieces_and_joined(
    autojump_clock: trio.testing.MockClock, record: Record
) -> None:
    async with svcd.local(Model) as app:
        result = await app.embed(x=np.arange(150).reshape(150, 1))
        np.testing.assert_array_equal(result, 2 * np.arange(150).reshape(150, 1))
        assert record.sizes == [64, 64, 22]
        assert (await app.embed(x=np.zeros((0, 2)))).shape == (0, 2)


async def test_unlike_shapes_and_dtypes_are_not_mixed(autojump_clock: trio.testing.MockClock, record: Record) -> None:
    async with svcd.local(Model) as app, trio.open_nursery() as nursery:

        async def call(array: np.ndarray) -> None:
            result = await app.embed(x=array)
            assert result.dtype == array.dtype
            np.testing.assert_array_equal(result, array * 2)

        for number in range(24):
            dtype = (np.float32, np.int64)[number % 2]
            nursery.start_soon(call, np.full((2, 1 + number % 3), number, dtype))
    assert len(record.batches) <= 1 + 6
    assert {(str(batch.dtype), batch.shape[1]) for batch in record.batches} == {
        (dtype, width) for dtype in ("float32", "int64") for width in (1, 2, 3)
    }


async def waiting_behind_a_run(nursery: trio.Nursery, call: Any, record: Record) -> None:
    """Let a first call's batch run, so that those after it gather."""
    nursery.start_soon(call, [0])
    await record.begun.wait()


async def test_who_cancels_is_not_in_the_next_batch(record: Record) -> None:
    results: list[Any] = []
    async with svcd.local(Model) as app:

        async def call(rows: list[int]) -> None:
            results.append(await app.gated(x=rows))

        async with trio.open_nursery() as nursery:
            await waiting_behind_a_run(nursery, call, record)
            nursery.start_soon(call, [1])
            with trio.move_on_after(0) as left:
                async with trio.open_nursery() as inner:
                    inner.start_soon(call, [2])
            assert left.cancelled_caught
            nursery.start_soon(call, [3])
            await trio.testing.wait_all_tasks_blocked()
            record.gate.set()
    assert record.batches == [[0], [1, 3]]
    assert sorted(results) == [[1], [2], [4]]


async def test_who_is_too_late_is_not_in_the_next_batch(autojump_clock: trio.testing.MockClock, record: Record) -> None:
    @svcd.service
    class Hasty:
        model = svcd.depends(Model, timeout=0.01)

        @svcd.api
        async def run(self, x: list[int]) -> list[int]:
            return await self.model.gated(x=x)

    async with svcd.local(Hasty) as app, trio.open_nursery() as nursery:
        model = app[Model]
        await waiting_behind_a_run(nursery, lambda rows: model.gated(x=rows), record)
        nursery.start_soon(lambda: model.gated(x=[1]))
        with pytest.raises(svcd.DeadlineExceeded):
            await app.run(x=[2])
        record.gate.set()
    assert record.batches == [[0], [1]]


async def test_a_batch_that_all_have_left_is_cancelled(record: Record) -> None:
    async with svcd.local(Model) as app:
        async with trio.open_nursery() as nursery:
            await waiting_behind_a_run(nursery, lambda rows: app.gated(x=rows), record)
            nursery.cancel_scope.cancel()
        record.gate.set()
        assert await app.gated(x=[5]) == [6]
        assert record.cancelled == 1


async def test_a_batch_goes_on_for_those_who_stay(record: Record) -> None:
    async with svcd.local(Model) as app, trio.open_nursery() as nursery:
        results: list[Any] = []

        async def call(rows: list[int], *, scope: trio.CancelScope | None = None) -> None:
            with scope or trio.CancelScope():
                results.append(await app.gated(x=rows))

        await waiting_behind_a_run(nursery, call, record)
        scope = trio.CancelScope()
        nursery.start_soon(lambda: call([1], scope=scope))
        nursery.start_soon(call, [2])
        await trio.testing.wait_all_tasks_blocked()
        begun, record.begun = record.begun, trio.Event()
        gate, record.gate = record.gate, trio.Event()
        gate.set()
        assert begun.is_set()
        await record.begun.wait()  # the batch of both runs
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        record.gate.set()
    assert [sorted(batch) for batch in record.batches] == [[0], [1, 2]]
    assert sorted(results) == [[1], [3]]
    assert record.cancelled == 0


async def test_the_code_sees_a_call_with_the_time_of_who_has_most(record: Record) -> None:
    async with svcd.local(Model) as app, trio.open_nursery() as nursery:
        await waiting_behind_a_run(nursery, lambda rows: app.gated(x=rows), record)

        async def call(seconds: float) -> None:
            with trio.fail_after(seconds):
                await app.gated(x=[1])

        for seconds in (5, 50, 20):
            nursery.start_soon(call, seconds)
        await trio.testing.wait_all_tasks_blocked()
        record.gate.set()
    assert len(record.batches) == 2
    assert record.calls[1].api == "gated"
    assert 20 < record.calls[1].remaining() <= 50


async def test_calls_with_unlike_options_run_apart(record: Record) -> None:
    async with svcd.local(Model) as app, trio.open_nursery() as nursery:
        await waiting_behind_a_run(nursery, lambda rows: app.gated(x=rows), record)
        for number in range(6):
            nursery.start_soon(lambda n=number: app.gated(x=[n], loud=n % 2 == 0))
        await trio.testing.wait_all_tasks_blocked()
        record.gate.set()
    assert sorted(map(sorted, record.batches)) == [[0], [0, 2, 4], [1, 3, 5]]


async def errors_of(call: Any, *rows: list[int]) -> list[Any]:
    """Make the calls at once, behind a first one; return each one's result or error."""
    results: list[Any] = [None] * len(rows)

    async def one(index: int) -> None:
        try:
            results[index] = await call(x=rows[index])
        except (svcd.CallError, OddError) as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: call(x=[99]))
        await trio.testing.wait_all_tasks_blocked()
        for index in range(len(rows)):
            nursery.start_soon(one, index)
    return results


async def test_a_row_that_is_an_exception_fails_alone(record: Record) -> None:
    async with svcd.local(Model) as app:
        good, bad, both = await errors_of(app.picky, [1], [-2], [3, -4])
    assert sorted(record.batches[1]) == [-4, -2, 1, 3]
    assert good == [1]
    assert (str(bad), str(both)) == ("row -2", "row -4")


async def test_when_an_idempotent_api_raises_only_the_guilty_fail(
    autojump_clock: trio.testing.MockClock, record: Record
) -> None:
    async with svcd.local(Model) as app:
        results = await errors_of(app.retried, *([row] for row in range(31)), [-1])
    assert results[:31] == [[row] for row in range(31)]
    assert str(results[31]) == "one of 1 rows"
    assert record.sizes[:2] == [1, 32]
    assert len(record.sizes) == 1 + 1 + 2 * 5  # halves of halves, and not one by one
    assert results[31].__cause__.remote_traceback.count("in retried") == 1


async def test_when_another_api_raises_all_of_its_batch_fail(record: Record) -> None:
    async with svcd.local(Model) as app:
        results = await errors_of(app.fragile, [1], [2], [-1])
        assert record.sizes == [1, 3, 3][: len(record.sizes)]
        assert {str(result) for result in results} == {"one of 3 rows"}
        traceback = {result.__cause__.remote_traceback for result in results}
        assert len(traceback) == 1
        assert traceback.pop().count("in fragile") == 1  # whole, and not grown by the other callers
        assert await app.fragile(x=[1]) == [1]


async def test_a_wrong_number_of_rows_is_an_error_of_all(record: Record) -> None:
    async with svcd.local(Model) as app:
        with pytest.raises(svcd.BadResult, match=r"Model\.lossy returned 2 rows for a batch of 3"):
            await app.lossy(x=[1, 2, 3])
        with pytest.raises(svcd.RemoteError, match="SystemExit"):
            await app.leaving(x=[1])
        with pytest.raises(svcd.InvalidArgument, match=r"Model\.gated: x: "):
            await app.gated(x=3)


async def test_def_code_leaves_out_who_has_gone(record: Record) -> None:
    async with svcd.local(Model) as app, trio.open_nursery() as nursery:
        live = app._composition._members["batching_services:Model"].live
        results: list[Any] = []

        async def call(rows: list[int]) -> None:
            results.append(await app.plainly(x=rows))

        nursery.start_soon(call, [0])
        await trio.to_thread.run_sync(record.thread_begun.wait)
        nursery.start_soon(call, [1])
        with trio.move_on_after(0):
            await call([2])
        await trio.testing.wait_all_tasks_blocked()
        assert live.load() == (1, 1)
        record.thread_gate.set()
    assert record.batches == [[0], [1]]
    assert sorted(results) == [[0], [1]]
    assert live.taken == 0


async def test_def_code_that_all_have_left_keeps_slots_and_kernel_until_it_ends(record: Record) -> None:
    async with svcd.local(Model) as app:
        live = app._composition._members["batching_services:Model"].live
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: app.plainly(x=[0]))
            await trio.to_thread.run_sync(record.thread_begun.wait)
            nursery.cancel_scope.cancel()
        assert live.health() == {"in_flight": 1, "queued": 0, "threads_stuck": 1}
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: app.plainly(x=[1]))
            await trio.testing.wait_all_tasks_blocked()
            assert live.load() == (1, 1)
            assert record.batches == [[0]]
            record.thread_gate.set()
        assert record.batches == [[0], [1]]
        assert live.health() == {"in_flight": 0, "queued": 0, "threads_stuck": 0}


async def test_batches_have_room_to_gather_unless_the_service_says_otherwise(record: Record) -> None:
    @svcd.service
    class Large:
        @svcd.api(batchable=True, max_batch_size=100)
        async def run(self, x: list[int]) -> list[int]:
            return x

    async with svcd.local(Large) as app:
        assert app._composition._members[f"{__name__}:{Large.__qualname__}"].live.max_concurrency == 200
    async with svcd.local(Model) as app:
        assert app._composition._members["batching_services:Model"].live.max_concurrency == 128


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batchable": True, "max_batch": 3}, TypeError, "unknown option 'max_batch'; did you mean 'max_batch_size'"),
        ({"max_batch_size": 3}, TypeError, "max_batch_size is for batches; write batchable=True with it"),
        ({"batchable": True, "batch_dim": -1}, ValueError, "an axis counted from 0, or a pair"),
        ({"batchable": True, "batch_dim": (0, 1, 2)}, ValueError, "an axis counted from 0, or a pair"),
        ({"batchable": True, "max_batch_size": 0}, ValueError, "rows, 1 or more"),
        ({"batchable": True, "max_latency_ms": -1}, ValueError, "milliseconds, 0 or more"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        svcd.api(**options)


def test_a_stream_is_not_batchable() -> None:
    with pytest.raises(TypeError, match="a stream cannot be batchable"):

        @svcd.api(batchable=True)
        async def run(self: Any, x: list[int]) -> Any:
            yield x
