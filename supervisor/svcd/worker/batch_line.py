"""Which waiting calls become the next batch, and when. Pure: time is an argument.

A free kernel (the api's own code) is held back only for company that can be expected: those whose calls the last batch
answered may come back, and while fewer calls than that have come since, it waits for the next one as long as that pays.
To wait for one more costs each of the n calls that wait the gap between two arrivals, and saves the one that comes a
run of the kernel. So with a gap g and a run r it waits while n * g < r, where g is the mean of late or, once it is
longer, the present silence: a wrong guess has then cost as much as a run, and no more (the ski rental bound).
`max_latency` bounds it too. A lone caller expects nobody, and so never waits. While the kernel runs, arrivals gather.

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


@dataclass(slots=True, eq=False)
class Piece:
    """Rows of one call that go into the same batch."""

    kind: Hashable
    """Pieces of one batch have the same."""
    rows: int
    content: Any = field(default=None, repr=False)
    is_last: bool = True
    """The call has no further piece behind this one."""


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
        self._queues: dict[Hashable, deque[Piece]] = {}
        """By kind; kinds take turns, the first is next."""
        self._run = 0.0
        self._gap = inf
        """Means of late, in seconds; the gap is that between an arrival and the arrival, or end of a run, before it."""
        self._quiet_since: float | None = None
        """When a call came or a batch ended last."""
        self._held_since: float | None = None
        self._expected = 0
        """Calls that may come back before `_expected_until`."""
        self._expected_until = -inf

    def __repr__(self) -> str:
        return f"<BatchLine [{self.running} running, {self.waiting} waiting]>"

    def arrive(self, pieces: Iterable[Piece], now: float) -> None:
        """Take one call."""
        for piece in pieces:
            self._queues.setdefault(piece.kind, deque()).append(piece)
            self.waiting += piece.is_last
        if self._quiet_since is not None:
            # Beyond what would be waited for, one gap is as long as another.
            gap = min(now - self._quiet_since, 2 * self.max_latency)
            self._gap = gap if self._gap == inf else self._gap + MEAN * (gap - self._gap)
        self._quiet_since = now
        self._expected -= 1

    def leave(self, pieces: Iterable[Piece]) -> None:
        """Let go of those pieces that still wait."""
        for piece in pieces:
            queue = self._queues.get(piece.kind, ())
            if piece in queue:
                self._remove(piece)

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
        self._expected = sum(piece.is_last for piece in answered)
        self._expected_until = now + self.max_latency
        self._quiet_since = now

    def _take(self, kind: Hashable) -> list[Piece]:
        """Remove as much of a kind as fits into a batch, in the order of arrival; one piece always does."""
        queue = self._queues.pop(kind)
        batch = [queue.popleft()]
        rows = batch[0].rows
        while queue and rows + queue[0].rows <= self.max_rows:
            rows += queue[0].rows
            batch.append(queue.popleft())
        if queue:
            self._queues[kind] = queue  # at the end: no kind keeps the others out
        self.waiting -= sum(piece.is_last for piece in batch)
        return batch

    def _remove(self, piece: Piece) -> None:
        queue = self._queues[piece.kind]
        queue.remove(piece)
        self.waiting -= piece.is_last
        if not queue:
            del self._queues[piece.kind]

    def _is_full(self, queue: deque[Piece]) -> bool:
        """Whether a batch of these gains nothing from one more call."""
        return sum(piece.rows for piece in queue) >= self.max_rows

    def _worth_waiting_until(self, kind: Hashable, now: float) -> float:
        """Return until when it pays to wait for the next arrival; -inf when it does not."""
        queue = self._queues[kind]
        calls = max(1, sum(piece.is_last for piece in queue))
        if (
            self._expected <= 0
            or self._is_full(queue)
            or self._gap >= self.max_latency
            or calls * self._gap >= self._run
            or self._quiet_since is None
        ):
            return -inf
        if self._held_since is None:
            self._held_since = now
        patience = self._run / calls
        return min(self._quiet_since + patience, self._held_since + self.max_latency, self._expected_until)
