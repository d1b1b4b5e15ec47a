"""The service threads, where `__init__` and `def` apis run.

A hand-over costs one queue put and one wake-up, less than `trio.to_thread`: of the loop, or where that has nothing else
to do, of the call itself, which waits for the thread in the kernel (`handback`); or none, where the thread waits for
the call in the loop's place (`blocking`). A function that is abandoned (`portal`) keeps its thread until it ends.
"""

from __future__ import annotations

import contextvars
import threading
import traceback
from contextlib import suppress
from math import inf
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

from svcd.worker.handback import HandBack
from svcd.worker.portal import here
from svcd_ipc.calls import current_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.worker.portal import Portal

T = TypeVar("T")

_STREAK = 3
"""Jobs in a row that ended at once, before a thread waits for the next one itself."""


class Job:
    """One function on its way through a service thread."""

    __slots__ = (
        *("_call", "_claim", "_watch", "abandoned", "context", "deadline", "function", "on_end", "result", "scopes"),
        "task",
    )

    def __init__(
        self, function: Callable[[], Any], on_end: Callable[[], None] | None, task: trio.lowlevel.Task | None
    ) -> None:
        self.function = function
        self.on_end = on_end
        self.task = task
        self.context = contextvars.copy_context()
        self._call = call = current_call()
        self.deadline = inf if call is None or call.deadline is None else call.deadline
        """When whoever asked for it gives up; never for what is no call's."""
        self.abandoned = False
        self.scopes: set[trio.CancelScope] = set()
        """Of the blocking calls that it waits for."""
        self._claim = [True]
        self._watch: list[bool] = []
        self.result: outcome.Outcome[Any] | None = None
        """Set before a watch ends."""

    def take(self) -> Callable[[], Any]:
        """Return the function, and let go of it: its arguments, which may be views of the caller's memory, are given
        back with the answer, while the job still lives."""
        function, self.function = self.function, _nothing
        return function

    def is_late(self) -> bool:
        """Whether whoever waits for it has given up, though the loop may not have come to say so yet."""
        return self.task is not None and self._call is not None and self._call.remaining() <= 0

    def claim(self) -> bool:
        """Take the right to run or to drop this job; True for exactly one of loop and thread."""
        try:
            return self._claim.pop()  # atomic
        except IndexError:
            return False

    def has_ended(self) -> bool:
        """Whether a watched job has its result."""
        return self.result is not None

    def watch(self) -> None:
        """Have the thread say its word at the end, instead of asking the loop to look; before it is given to one."""
        self._watch.append(True)

    def unwatch(self) -> bool:
        """End the watch; True for the first of loop and thread. Where the thread was, the result is there."""
        try:
            return self._watch.pop()  # atomic
        except IndexError:
            return False


class ServiceThreads:
    """A fixed number of threads that run functions in the order in which they were given."""

    def __init__(self, name: str, portal: Portal, count: int = 1) -> None:
        self._queue: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self.portal = portal
        self._threads = [
            # Daemon threads: a stuck api must not keep a process from exiting.
            threading.Thread(target=self._work, args=(index,), name=f"{name}-{index}", daemon=True)
            for index in range(count)
        ]
        self._running: list[Job | None] = [None] * count
        """What each thread works at."""
        self.pending = 0
        """Jobs that run or wait."""
        self.stuck = 0
        """Running jobs that nobody waits for any more."""
        self._back = HandBack.of_this_loop()
        self._streak = 0
        """Jobs in a row that ended while the loop had nothing else to do."""

    def __repr__(self) -> str:
        running = self.pending - self.queued
        return f"<ServiceThreads {len(self._threads)} [{running} running, {self.queued} queued, {self.stuck} stuck]>"

    @property
    def count(self) -> int:
        """How many threads there are."""
        return len(self._threads)

    @property
    def queued(self) -> int:
        """Jobs that wait for a thread."""
        return max(0, self.pending - len(self._threads))

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits."""
        return self.pending > 0

    def stuck_since(self, now: float) -> float:
        """Since when every thread works at something whose deadline has passed; 0.0 while one does not."""
        deadlines = [inf if job is None else job.deadline for job in list(self._running)]
        latest = max(deadlines)
        return latest if latest < now else 0.0

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let each thread end once it has nothing to do."""
        for _ in self._threads:
            self._queue.put(None)

    async def run(self, function: Callable[[], T], *, on_end: Callable[[], None] | None = None) -> T:
        """Run a function on a thread and return what it returns.

        Cancellation returns at once; a function that has begun runs on, abandoned. `on_end` runs on the loop exactly
        once: when the function has ended, or when it is certain never to begin.
        """
        job = Job(function, on_end, trio.lowlevel.current_task())
        self.pending += 1
        if self._has_ended_at_once(job):
            return self.result_of(job)  # type: ignore[no-any-return]  # the job's own result
        self._streak = 0
        return await self._until_ended(job)  # type: ignore[no-any-return]  # as above

    async def _until_ended(self, job: Job) -> Any:
        def abort(_: Any) -> trio.lowlevel.Abort:
            self._let_go(job)
            return trio.lowlevel.Abort.SUCCEEDED

        return await trio.lowlevel.wait_task_rescheduled(abort)

    def post(self, function: Callable[[], Any], *, on_end: Callable[[], None] | None = None) -> None:
        """Run a function on a thread without waiting for it; what it raises is printed."""
        self.pending += 1
        self._queue.put(Job(function, on_end, None))

    # What a thread runs that waited for it in the loop's place, as `svcd_ipc.calls.Threads` has it

    def is_worth_it(self) -> bool:
        """Whether the last jobs ended at once, and all threads are free."""
        return self._streak >= _STREAK and not self.pending

    def lend(self, work: Callable[[], None]) -> None:
        """Have a thread do something else than a job, which raises nothing."""
        self._queue.put(work)

    def job(self, function: Callable[[], Any], on_end: Callable[[], None]) -> Job:
        """Return a job for `run_here`, in the context of the call that it is for."""
        self.pending += 1
        job = Job(function, on_end, None)
        job.claim()
        return job

    def run_here(self, job: Job) -> None:
        """Run a job on the service thread that calls this."""
        index: int = here.index
        here.job = self._running[index] = job
        job.result = outcome.capture(job.context.run, job.take())
        here.job = self._running[index] = None

    def hand_over(self, job: Job) -> None:
        """Tell the loop that a job has run for which `rest_of` waits."""
        result, job.result = job.result, None
        assert result is not None  # noqa: S101  (it has run)
        with suppress(trio.RunFinishedError):
            self.portal.token.run_sync_soon(self._ended, job, result)

    async def rest_of(self, job: Job) -> Any:
        """Wait for the result of a job that is handed over when it has run."""
        job.task = trio.lowlevel.current_task()
        return await self._until_ended(job)

    def _has_ended_at_once(self, job: Job) -> bool:
        """Give a job to a thread, and wait in the kernel for its end where that is no loss; False to wait for it."""
        back = self._back
        if back is None or self.pending > 1 or not back.is_worth_it():
            self._queue.put(job)
            return False
        job.watch()
        self._queue.put(job)
        try:
            back.wait(job.has_ended)
        except BaseException:  # KeyboardInterrupt
            if job.unwatch():
                self._let_go(job)
            else:
                self._count_out(job)
            raise
        if job.unwatch():
            return False
        self._streak += 1
        return True

    def result_of(self, job: Job) -> Any:
        """Return the result of a job that has run, or raise it."""
        self._count_out(job)
        result, job.result = job.result, None
        assert result is not None  # noqa: S101  (it has ended)
        try:
            return result.unwrap()
        finally:
            del result  # as in `Portal.run`

    def _count_out(self, job: Job) -> None:
        self.pending -= 1
        if job.on_end is not None:
            job.on_end()

    def _let_go(self, job: Job) -> None:
        """Wait for a job no more."""
        if job.claim():
            self._count_out(job)
            return
        job.abandoned = True
        self.stuck += 1
        for scope in job.scopes:
            scope.cancel()

    def _work(self, index: int) -> None:
        here.portal, here.index = self.portal, index
        while (job := self._queue.get()) is not None:
            if not isinstance(job, Job):
                job()
                del job
                continue
            if job.is_late() or not job.claim():  # a late one is left for the loop to drop
                continue
            self.run_here(job)
            if self._back is not None and job.unwatch():
                self._back.say()
            else:
                self.hand_over(job)
            del job  # While the thread waits they would keep arguments alive: memory that the caller shares.

    def _ended(self, job: Job, result: outcome.Outcome[Any]) -> None:
        if job.abandoned:
            self.stuck -= 1
        elif job.task is not None:
            trio.lowlevel.reschedule(job.task, result)
        elif isinstance(result, outcome.Error):
            traceback.print_exception(result.error)
        self._count_out(job)


def _nothing() -> None:
    """Be the function of a job that has run."""
