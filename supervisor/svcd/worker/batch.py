"""Calls of a batchable api, gathered into runs of its code: each caller gets its own rows back.

When to run which is decided by `batch_line`, how rows are joined and parted by `batch_rows`; here is what waits, runs
and fails. What has been cancelled or has expired leaves before the rows are joined, which is when the api's thread
takes the batch up. A batch that nobody waits for any more is cancelled.

One bad row can fail alone: an exception in the place of a row fails that row's call; and when the code raises and the
api is idempotent, the batch is run again in halves, down to the call that is to blame. (Out of memory is met by this
too.) Otherwise what it raises is raised to every caller of the batch.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.batch_line import BatchLine, Hold, Piece
from svcd.worker.batch_rows import Args, Rows, failure_in
from svcd_ipc.calls import IncomingCall, call_context, current_call
from svcd_ipc.errors import BadResult, DeadlineExceeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from svcd.app.apis import Batching
    from svcd.worker.serve import Slot

    Kernel = Callable[[Callable[[], Args], Callable[[], None]], Awaitable[Any]]
    """Runs the api's code with the arguments that the first function makes, where and when that code runs; the second
    is called once the code has really ended."""


class NothingLeft(Exception):  # noqa: N818  (no error of anybody's)
    """Everybody has left the batch."""


class BatchedCall:
    """One caller's call: its pieces, and what has become of them."""

    __slots__ = ("_missing", "call", "done", "error", "has_left", "pieces", "results", "slot")

    def __init__(self, call: IncomingCall | None, slot: Slot) -> None:
        self.call = call
        self.slot = slot
        self.pieces: list[Piece] = []
        self.results: dict[Piece, Any] = {}
        self.error: tuple[BaseException, Any] | None = None
        """With its traceback as it was: to raise it to many callers would add to it each time."""
        self.done = trio.Event()
        self.has_left = False

    @property
    def is_late(self) -> bool:
        """Whether nobody can want its result any more."""
        return self.has_left or (self.call is not None and self.call.remaining() <= 0)

    def succeed(self, piece: Piece, rows: Any) -> None:
        """Take the rows of one piece."""
        failure = failure_in(rows)
        if failure is not None:
            self.fail(failure)
            return
        self.results[piece] = rows
        if len(self.results) == len(self.pieces):
            self.done.set()

    def fail(self, error: BaseException) -> None:
        """Take an error; the first one counts."""
        if self.error is None:
            self.error = error, error.__traceback__
        self.done.set()


class Batcher:
    """Runs one batchable api.

    Args:
        rows: How its rows lie.
        batching: What `@svcd.api` said.
        kernel: See `Kernel`.
        lanes: How many batches may run at once.
        halves: Whether a batch that raised is run again in halves.
        nursery: Where batches run.
    """

    def __init__(
        self, rows: Rows, batching: Batching, kernel: Kernel, *, lanes: int, halves: bool, nursery: trio.Nursery
    ) -> None:
        self._rows = rows
        self._kernel = kernel
        self._halves = halves
        self._nursery = nursery
        self._line = BatchLine(
            max_rows=batching.max_batch_size, max_latency=batching.max_latency_ms / 1000, lanes=lanes
        )
        self._holding: trio.CancelScope | None = None
        """Ends when the kernel is not to be held back any longer."""
        self._runs: dict[Piece, Run] = {}

    def __repr__(self) -> str:
        return f"<Batcher {self._rows.title} [{self._line.running} running, {self.waiting} waiting]>"

    @property
    def waiting(self) -> int:
        """Calls that are in no batch yet."""
        return self._line.waiting

    async def call(self, args: Args, slot: Slot) -> Any:
        """Run validated arguments in the company of others and return their rows."""
        call = BatchedCall(current_call(), slot)
        call.pieces = self._cut(call, args)
        self._line.arrive(call.pieces, trio.current_time())
        self._go_on()
        try:
            await call.done.wait()
            self._line.went(trio.current_time())
        finally:
            call.has_left = True
            self._withdraw(call)
        if call.error is not None:
            error, traceback = call.error
            call.error = None
            try:
                raise error.with_traceback(traceback)
            finally:
                del error, traceback  # An error keeps this frame, and is not to be kept by it.
        return self._rows.rejoin([call.results[piece] for piece in call.pieces])

    def _cut(self, call: BatchedCall, args: Args) -> list[Piece]:
        """Return the rows of a call in pieces that each fit into a batch."""
        count, kind = self._rows.measure(args)
        most = self._line.max_rows
        if count <= most:
            return [Piece(kind, count, (call, args))]
        bounds = [(start, min(start + most, count)) for start in range(0, count, most)]
        return [
            Piece(kind, end - start, (call, self._rows.part(args, start, end)), is_last=end == count)
            for start, end in bounds
        ]

    def _withdraw(self, call: BatchedCall) -> None:
        """Take out of the line what still waits, and end the batches in which nobody is left."""
        self._line.leave(call.pieces)
        for run in {self._runs[piece] for piece in call.pieces if piece in self._runs}:
            run.end_if_left()
        self._go_on()

    def _go_on(self) -> None:
        """Start what is to be run now, and set the time at which to look again at what is held back."""
        now = trio.current_time()
        while isinstance(found := self._line.take(now), list):
            run = Run(found, self._rows, self._kernel, halves=self._halves, on_end=self._ended)
            self._runs.update(dict.fromkeys(found, run))
            self._nursery.start_soon(run.run)
        until = found.until if isinstance(found, Hold) else inf
        if self._holding is not None:
            self._holding.deadline = until
        elif until < inf:
            self._holding = trio.CancelScope(deadline=until)
            self._nursery.start_soon(self._hold, self._holding)

    async def _hold(self, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep_forever()
        self._holding = None
        self._go_on()

    def _ended(self, run: Run) -> None:
        now = trio.current_time()
        for piece in run.pieces:
            del self._runs[piece]
        answered = [piece for piece in run.pieces if not _call_of(piece).has_left]
        self._line.ended(answered, now, took=now - run.start)
        self._go_on()


class Run:
    """One batch, from when it was taken out of the line until the api's code has really ended.

    Until then it keeps the slots of its calls, also of those whose callers have left.
    """

    def __init__(
        self, pieces: list[Piece], rows: Rows, kernel: Kernel, *, halves: bool, on_end: Callable[[Run], None]
    ) -> None:
        self.pieces = pieces
        self.start = trio.current_time()
        self._rows = rows
        self._kernel = kernel
        self._halves = halves
        self._on_end = on_end
        self._scope = trio.CancelScope()
        self._holders = 1
        for piece in pieces:
            _call_of(piece).slot.hold()

    def __repr__(self) -> str:
        return f"<Run of {len(self.pieces)} pieces, {sum(piece.rows for piece in self.pieces)} rows>"

    def end_if_left(self) -> None:
        """Cancel it when nobody waits for it any more."""
        if all(_call_of(piece).has_left for piece in self.pieces):
            self._scope.cancel()

    async def run(self) -> None:
        """Run it and give each call its own."""
        try:
            with self._scope:
                await self._serve(self.pieces)
        finally:
            self._drop()

    async def _serve(self, pieces: Sequence[Piece]) -> None:
        live: list[Piece] = []
        """Those whose rows the code was given."""
        halves: Sequence[Sequence[Piece]] = ()
        try:
            parts = await self._parts_of(pieces, live)
        except NothingLeft:
            pass
        except BaseException as error:
            if _is_cancellation(error):
                raise
            halves = self._halves_of(live, error)
            for piece in () if halves else live:
                _call_of(piece).fail(error)
        else:
            for piece, part in zip(live, parts, strict=True):
                _call_of(piece).succeed(piece, part)
        for piece in set(pieces).difference(live):
            _call_of(piece).fail(DeadlineExceeded(f"{self._rows.title}: the deadline passed before its batch was run"))
        for half in halves:
            await self._serve(half)

    async def _parts_of(self, pieces: Sequence[Piece], live: list[Piece]) -> list[Any]:
        """Run the code on the rows of those pieces that are still wanted, named in `live`; return what each gets."""

        def join() -> Args:
            live.extend(piece for piece in pieces if not _call_of(piece).is_late)
            if not live:
                raise NothingLeft
            return self._rows.join([piece.content[1] for piece in live])

        self._holders += 1
        with call_context(_standing_for(pieces)):
            value = await self._kernel(join, self._drop)
        return self._rows.split(value, [piece.rows for piece in live])

    def _halves_of(self, pieces: Sequence[Piece], error: BaseException) -> Sequence[Sequence[Piece]]:
        """Return what to run again after an error; nothing where that would not help, or may not be done."""
        may_help = len(pieces) > 1 and isinstance(error, Exception) and not isinstance(error, BadResult)
        middle = len(pieces) // 2
        return (pieces[:middle], pieces[middle:]) if may_help and self._halves else ()

    def _drop(self) -> None:
        self._holders -= 1
        if self._holders == 0:
            self._on_end(self)
            for piece in self.pieces:
                _call_of(piece).slot.drop()


def _call_of(piece: Piece) -> BatchedCall:
    call: BatchedCall = piece.content[0]
    return call


def _is_cancellation(error: BaseException) -> bool:
    """Whether an error is trio's own, perhaps among others in a group."""
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def _standing_for(pieces: Sequence[Piece]) -> IncomingCall | None:
    """Return the call that the code sees: the first one's, with the time of whoever has most."""
    calls = [call for piece in pieces if (call := _call_of(piece).call) is not None]
    if not calls:
        return None
    latest = max(inf if call.deadline is None else call.deadline for call in calls)
    return replace(calls[0], deadline=None if latest == inf else latest)
