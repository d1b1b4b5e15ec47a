"""Whether the event loop of a run of trio has anything to do but wait, and for how long it would.

A task that would be the only one to go on may sleep in the loop's place (`kernelwait`), as the loop would sleep in
epoll_wait(2) until one of its descriptors is ready or its next deadline comes.

What this needs of trio is not public: the loop's epoll descriptor, its deadlines, and whether a task is scheduled.
Where they are not found (another version of trio), where the loop does not own its thread (guest mode) and where its
clock is not the system's (tests), nobody is ever alone, and all tasks park.
"""

from __future__ import annotations

import select
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio
from trio.lowlevel import RunVar, add_instrument

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

_LONGEST = 0.05
"""Seconds after which the loop has a pass all the same, for whatever it may see that this does not. Tests set it, and
so it is not Final, whose value mypyc writes into the code."""


class Holder(Protocol):
    """A connection that nobody reads for as long as a call that came over it runs in place."""

    fd: int
    is_crowded: bool
    """More came with that call, and waits for it."""


class Hearer(Protocol):
    """A connection that is woken when its peer reads."""

    def close(self) -> None:
        """Hear no more of it, which frees a descriptor."""


class LoopState:
    """What the waits in the kernel of one run of trio have in common."""

    def __init__(self) -> None:
        self.is_alone = False
        """The task that runs is the only one of this pass of the loop. Kept by an instrument of trio's."""
        self.holders: list[Holder] = []
        """Those whose call runs in place now, outermost first."""
        self.hearers: list[Hearer] = []
        """In the order in which they began."""
        self.epoll = -1
        """The loop's epoll descriptor; -1 where there is none to be had."""
        self._runq: Collection[Any] = ()
        self._waiting_for_idle: Collection[Any] = ()
        self._next_deadline: Callable[[], float] = _never_idle
        self._now: Callable[[], float] = _never_idle
        self._due = 0.0
        """The loop's next deadline when this pass began. It may have passed before the loop looked whom it ends; then
        it is no deadline any more, and who waited for it may come after the task that runs."""
        self._look = select.poll()
        self._runner: Any = None
        self._context: Any = None
        """Where each thread finds the run of trio that it is at work for."""

    def start(self, runner: Any) -> None:
        """Take what is needed of the loop. Raises AttributeError where it is not there."""
        if runner.is_guest or not isinstance(runner.clock, _trio().SystemClock):
            return
        self._next_deadline, self._now = runner.deadlines.next_deadline, runner.clock.current_time
        self._runner, self._context = runner, _trio().GLOBAL_RUN_CONTEXT
        self._runq = runner.runq
        self._waiting_for_idle = runner.waiting_for_idle
        self.epoll = runner.io_manager._epoll.fileno()  # noqa: SLF001 - see above
        self._look.register(self.epoll, select.POLLIN)
        add_instrument(_Passes(self))

    def begin_pass(self) -> None:
        """Note who runs in the pass of the loop that begins now."""
        self._due = self._next_deadline()
        self.is_alone = len(self._runq) == 1

    def idle_for(self) -> float:
        """Return for how many seconds the loop would do nothing but wait; 0 when it has something to do."""
        if not self.is_alone or self._runq or self._waiting_for_idle:
            return 0.0
        for holder in self.holders:
            if holder.is_crowded:
                return 0.0
        left = min(self._due, self._next_deadline()) - self._now()
        if left <= 0 or trio.current_effective_deadline() == -inf:
            return 0.0
        return min(left, _LONGEST)

    def next_deadline(self) -> float:
        """Return when the loop wakes by itself, in its clock's seconds."""
        return self._next_deadline()

    def has_work_before(self, instant: float) -> bool:
        """Tell whether a task is scheduled, or one wants to be woken before an instant."""
        return bool(self._runq) or self._next_deadline() < instant

    def enter(self, task: trio.lowlevel.Task) -> None:
        """Let the thread that calls this do the loop's work as part of a task that the loop is at."""
        self._context.runner, self._context.task = self._runner, task

    def leave(self) -> None:
        """End that; it may have ended already."""
        with suppress(AttributeError):
            del self._context.task, self._context.runner

    def is_idle(self) -> bool:
        """Tell whether a pass of the loop would find nothing to do."""
        return self.idle_for() > 0 and not self._look.poll(0)


class _Passes(trio.abc.Instrument):
    """Tells of each pass of the loop, between its look at the descriptors and the first task that goes on."""

    def __init__(self, state: LoopState) -> None:
        self._begin = state.begin_pass

    def after_io_wait(self, timeout: float) -> None:  # noqa: ARG002 - the hook's
        self._begin()


_of_run: Final = RunVar[LoopState]("svcd_ipc.loopstate")


def of_this_run() -> LoopState:
    """Return the one of this run of trio."""
    try:
        return _of_run.get()
    except LookupError:
        made = LoopState()
        _of_run.set(made)
        with suppress(AttributeError, ImportError):
            made.start(_trio().GLOBAL_RUN_CONTEXT.runner)
        return made


def _trio() -> Any:
    from trio._core import _run  # noqa: PLC0415 - it may not be there, as it is not public

    return _run


def _never_idle() -> float:
    return 0.0
