"""Batches hold what they promise whatever comes: for the decisions alone, and for rows through a running service."""

from __future__ import annotations

from typing import Any

import numpy as np
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import svcd
from svcd.worker.batch_line import BatchLine, Hold, Piece

MAX_ROWS, MAX_LATENCY = 6, 0.005


class Talk(RuleBasedStateMachine):
    """Calls come, leave and are run at random moments."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.line = BatchLine(max_rows=MAX_ROWS, max_latency=MAX_LATENCY, lanes=2)
        self.waiting: list[Piece] = []
        self.running: list[tuple[float, list[Piece]]] = []
        self.over: set[Piece] = set()
        self.held_since: float | None = None

    @rule(kind=st.sampled_from("ab"), rows=st.lists(st.integers(0, MAX_ROWS), min_size=1, max_size=3))
    def arrive(self, kind: str, rows: list[int]) -> None:
        pieces = [Piece(kind, count, is_last=index == len(rows) - 1) for index, count in enumerate(rows)]
        self.line.arrive(pieces, self.now)
        self.waiting += pieces

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        gone = data.draw(st.sampled_from(self.waiting))
        self.line.leave([gone])
        self.waiting.remove(gone)
        self.over.add(gone)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), answered=st.booleans())
    def end(self, data: st.DataObject, answered: bool) -> None:
        start, batch = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        self.line.ended(batch if answered else [], self.now, took=self.now - start)

    @rule(seconds=st.sampled_from([0.0, 0.0001, 0.001, 0.004, 1.0]))
    def wait(self, seconds: float) -> None:
        if seconds == 0 or self.held_since is None:
            self.now += seconds
            return
        held = self.line.take(self.now)
        if isinstance(held, Hold):
            self.now = min(self.now + seconds, held.until)
        else:
            self.run(held)

    @rule()
    def look(self) -> None:
        while (found := self.line.take(self.now)) is not None:
            if isinstance(found, Hold):
                assert len(self.running) < 2
                assert self.waiting
                self.held_since = self.now if self.held_since is None else self.held_since
                assert self.now < found.until <= self.held_since + MAX_LATENCY
                return
            self.run(found)
        self.held_since = None
        assert not self.waiting or len(self.running) == 2  # a free kernel and calls: something is done about it

    def run(self, batch: list[Piece] | None) -> None:
        assert batch
        self.held_since = None
        assert len({piece.kind for piece in batch}) == 1
        assert sum(piece.rows for piece in batch) <= MAX_ROWS
        assert [piece for piece in self.waiting if piece.kind == batch[0].kind][: len(batch)] == batch
        for piece in batch:
            self.waiting.remove(piece)
            assert piece not in self.over
            self.over.add(piece)
        self.running.append((self.now, batch))
        assert len(self.running) <= 2

    @invariant()
    def counts_agree(self) -> None:
        assert self.line.waiting == sum(piece.is_last for piece in self.waiting)
        assert self.line.running == len(self.running)


TestTalk = Talk.TestCase
TestTalk.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


@given(st.lists(st.floats(0, 0.1), max_size=50), st.floats(0, 0.02))
def test_a_caller_with_one_call_at_a_time_never_waits(pauses: list[float], took: float) -> None:
    line = BatchLine(max_rows=32, max_latency=MAX_LATENCY)
    now = 0.0
    for pause in pauses:
        now += pause
        piece = Piece("a", 1)
        line.arrive([piece], now)
        assert line.take(now) == [piece]
        now += took
        line.ended([piece], now, took=took)


@svcd.service
class Rows:
    """Each result tells of its own row alone; kernels of 1 ms, so that calls meet."""

    @svcd.api(batchable=True, max_batch_size=7)
    async def doubled(self, x: list[int]) -> list[int]:
        await trio.sleep(0.001)
        return [2 * row for row in x]

    @svcd.api(batchable=True, max_batch_size=7, batch_dim=(1, 0))
    async def sums(self, x: np.ndarray, y: list[int], z: int = 0) -> tuple[np.ndarray, list[int]]:
        await trio.sleep(0.001)
        return x.sum(axis=0) + z, [row + z for row in y]


sizes = st.lists(st.tuples(st.integers(0, 20), st.floats(0, 0.004), st.sampled_from([0, 1])), min_size=1, max_size=20)


@settings(max_examples=30, deadline=None)
@given(sizes)
def test_each_caller_gets_its_own_rows(calls: list[tuple[int, float, int]]) -> None:
    async def main() -> None:
        async with svcd.local(Rows) as app, trio.open_nursery() as nursery:
            for number, call in enumerate(calls):
                nursery.start_soon(check, app, 1000 * number, *call)

    async def check(app: Any, start: int, count: int, pause: float, option: int) -> None:
        await trio.sleep(pause)
        rows = list(range(start, start + count))
        assert await app.doubled(x=rows) == [2 * row for row in rows]
        array = np.array([rows, rows], dtype=np.int64 if option else np.float64)
        sums, plain = await app.sums(x=array, y=rows, z=option)
        np.testing.assert_array_equal(sums, 2 * np.array(rows) + option)
        assert plain == [row + option for row in rows]

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
