"""Which waiting calls become the next batch, and when. Pure: time is an argument.

A free kernel (the api's own code) is held back only for company that can be expected: those whose calls the last batch
answered, if those of the batch before did come back, and only while fewer have come since. And only as long as it pays.
To wait a while for m more costs each of the n calls that wait that while, and saves each of the m, and the kernel, a
run. So it waits

    while n * g < 2 * r         with a mean gap g between arrivals, and a run r: one more, at least, is worth it, and
    for 2 * r * m / n seconds   of silence: a wrong guess then costs no more than it would have saved (the ski rental
                                bound), nor more than a run, nor more than `max_latency` altogether.

A caller who is alone, or comes after a crowd that came once, never waits. While the kernel runs, arrivals gather.

Holding back as long as it pays is the idea of BentoML's dispatcher and of Clipper (NSDI 2017, section 4.3.2).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable

MEAN = 0.2
"""Weight of the newest value in the means of gaps and runs."""
RETURNS = 0.5
"""The same for the share of callers that came back; and the share from which on they are expected to."""
WORTH = 2.0
"""Runs that are saved by one more call in a batch: that of the call, and the kernel's, which others wait for. With one,
a crowd of callers falls apart into two that take turns, and the kernel runs twice as often as it need."""


@dataclass(slots=True, eq=False)
class Piece:
    """Rows of one call that go into the same batch."""

    kind: Hashable
    """Pieces of one batch have the same."""
    rows: int
    content: Any = field(default=None, repr=False)
    is_last: bool = True
    """The call has no further piece behind this one."""


class Queue:
    """Pieces of one kind, in the order of arrival."""

    __slots__ = ("_pieces", "calls", "rows")

    def __init__(self) -> None:
        self._pieces: deque[Piece] = deque()
        self.rows = 0
        self.calls = 0
        """Those whose last piece is here."""

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def __contains__(self, piece: Piece) -> bool:
        return piece in self._pieces

    def add(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self.rows += piece.rows
        self.calls += piece.is_last

    def remove(self, piece: Piece) -> None:
        self._pieces.remove(piece)
        self._uncount(piece)

    def take(self, most: int) -> list[Piece]:
        """Remove as much as fits into a batch of so many rows; one piece always does."""
        batch: list[Piece] = []
        rows = 0
        while self._pieces and (not batch or rows + self._pieces[0].rows <= most):
            piece = self._pieces.popleft()
            rows += piece.rows
            batch.append(piece)
            self._uncount(piece)
        return batch

    def _uncount(self, piece: Piece) -> None:
        self.rows -= piece.rows
        self.calls -= piece.is_last


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is to be run before this instant, unless something happens."""

    until: float


class BatchLine:
    """The calls of one api that wait for its kernel.

    Args:
        max_rows: The most rows of a batch.
        max_latency: The most seconds for which a free kernel is held back.
        lanes: How many batches may run at once.
    """

    def __init__(self, *, max_rows: int, max_latency: float, lanes: int = 1) -> None:
        self.max_rows = max_rows
        self.max_latency = max_latency
        self.lanes = lanes
        self.running = 0
        """Batches that run."""
        self.waiting = 0
        """Calls that wait."""
        self._queues: dict[Hashable, Queue] = {}
        """By kind; kinds take turns, the first is next."""
        self._run = 0.0
        self._gap = inf
        """Means of late, in seconds; the gap is that between an arrival and the arrival, or end of a run, before it."""
        self._quiet_since: float | None = None
        """When a call came or a batch ended last."""
        self._held_since: float | None = None
        self._expected = 0
        """Calls that the last batch answered, and that may come back before `_expected_until`."""
        self._came = 0
        """Calls that have come since."""
        self._returns = 0.0
        """Mean of late: the share of those answered that came back before the next batch was."""
        self._expected_until = -inf

    def __repr__(self) -> str:
        return f"<BatchLine [{self.running} running, {self.waiting} waiting]>"

    def arrive(self, pieces: Iterable[Piece], now: float) -> None:
        """Take one call."""
        for piece in pieces:
            queue = self._queues.get(piece.kind)
            if queue is None:
                queue = self._queues[piece.kind] = Queue()
            queue.add(piece)
            self.waiting += piece.is_last
        if self._quiet_since is not None:
            # Beyond what would be waited for, one gap is as long as another.
            gap = min(now - self._quiet_since, 2 * self.max_latency)
            self._gap = gap if self._gap == inf else self._gap + MEAN * (gap - self._gap)
        self._quiet_since = now
        self._came += 1

    def leave(self, pieces: Iterable[Piece]) -> None:
        """Let go of those pieces that still wait."""
        for piece in pieces:
            queue = self._queues.get(piece.kind)
            if queue is not None and piece in queue:
                queue.remove(piece)
                self.waiting -= piece.is_last
                if not queue:
                    del self._queues[piece.kind]

    def take(self, now: float) -> list[Piece] | Hold | None:
        """Return the batch to run now, of which `ended` is to be told, or how long to hold back; or nothing to do."""
        if not self._queues or self.running >= self.lanes:
            self._held_since = None
            return None
        kind = next(iter(self._queues))
        until = self._worth_waiting_until(kind, now)
        if until > now:
            kind = next((other for other, queue in self._queues.items() if self._is_full(queue)), None)
            if kind is None:
                return Hold(until)
        self._held_since = None
        self.running += 1
        return self._take(kind)

    def ended(self, answered: Iterable[Piece], now: float, *, took: float) -> None:
        """Say that a batch has been run, in so many seconds, and whose callers got an answer."""
        self.running -= 1
        self._run = self._run + MEAN * (took - self._run) if self._run else took
        if self._expected:
            self._returns += RETURNS * (min(1.0, self._came / self._expected) - self._returns)
        self._expected, self._came = sum(piece.is_last for piece in answered), 0
        self._expected_until = now + self.max_latency
        self._quiet_since = now

    def went(self, now: float) -> None:
        """Say that an answer is on its way: nobody comes back before, and to send many takes its time."""
        self._quiet_since = now
        self._expected_until = now + self.max_latency
        if self._held_since is not None:
            self._held_since = now

    def _take(self, kind: Hashable) -> list[Piece]:
        queue = self._queues.pop(kind)
        batch = queue.take(self.max_rows)
        if queue:
            self._queues[kind] = queue  # at the end: no kind keeps the others out
        self.waiting -= sum(piece.is_last for piece in batch)
        return batch

    def _is_full(self, queue: Queue) -> bool:
        """Whether a batch of these gains nothing from one more call."""
        return queue.rows >= self.max_rows

    def _worth_waiting_until(self, kind: Hashable, now: float) -> float:
        """Return until when it pays to wait for the next arrival; -inf when it does not."""
        queue = self._queues[kind]
        calls = max(1, queue.calls)
        company = self._expected - self._came if self._returns >= RETURNS else 0
        if (
            company <= 0
            or self._is_full(queue)
            or self._gap >= self.max_latency
            or calls * self._gap >= WORTH * self._run
            or self._quiet_since is None
        ):
            return -inf
        if self._held_since is None:
            self._held_since = now
        patience = self._run * min(1.0, WORTH * company / calls)
        return min(self._quiet_since + patience, self._held_since + self.max_latency, self._expected_until)
