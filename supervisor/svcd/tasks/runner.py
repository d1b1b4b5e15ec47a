"""Runs what is queued, as much at once as whoever performs it admits.

Law: a task is claimed, on disk, before it is begun, and not before there is room for it. What becomes of it is noted
until the disk takes it. Whatever this process does not come to note, the next one finds under a dead owner.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import trio

from svcd.tasks.errors import StoreUnusable
from svcd.tasks.records import Fault
from svcd.tasks.states import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.tasks.desk import Desk
    from svcd.tasks.records import Claimed, Result, TaskInfo
    from svcd.tasks.store import Store

SWEEP = 1.0
"""Seconds between two looks at what other processes did, whose time is up, and who has died."""
PAUSE = 0.5
"""Seconds after which to try again where no task can be begun now."""
FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds between two attempts at noting an outcome on a disk that does not take it."""


class NotNow(Exception):  # noqa: N818 - it says when, not what went wrong
    """No task can be begun at present."""


class NotBegun(Exception):  # noqa: N818 - as above
    """The task was not begun after all, and may be elsewhere or later."""


class Lost(Exception):  # noqa: N818 - as above
    """Whoever ran the task died; it may have had its effect."""


class Place(Protocol):
    """Room for one task."""

    async def perform(self, task: Claimed) -> Result:
        """Run it and leave. Raises NotBegun, Lost, or what `Performer.fault_of` makes a fault of."""

    def leave(self) -> None:
        """Give the room back unused."""


class Performer(Protocol):
    """Whoever runs tasks."""

    async def enter(self) -> Place:
        """Return once there is room. Raises NotNow."""

    def fault_of(self, task: Claimed, error: Exception) -> Fault:
        """Return what is kept of an error."""


class Runner:
    """The queue of one process.

    Args:
        desk: Has the store.
        performer: Runs tasks.
        concurrency: The most that run at once, beside what the performer admits.
        wall: Seconds since the epoch.
        say: Told what an operator should know.
    """

    def __init__(
        self,
        desk: Desk,
        performer: Performer,
        *,
        concurrency: float = inf,
        wall: Callable[[], float] = time.time,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.desk = desk
        self.queued = 0
        """Tasks that wait, of all processes, as of the last sweep."""
        self._performer = performer
        self._concurrency = concurrency
        self._wall = wall
        self._say = say
        self._running: dict[trio.CancelScope, str] = {}
        """By scope and not by id: one that was not begun after all may be claimed again before its scope is gone."""
        self._news = trio.Event()
        """Set when there may be something to begin."""
        self._changed = trio.Event()
        """Replaced each time that a task has ended."""
        self._is_draining = False

    def __repr__(self) -> str:
        return f"<Runner of {self.desk} [{len(self._running)} running]>"

    @property
    def running(self) -> int:
        """Tasks of this process."""
        return len(self._running)

    async def run(self) -> None:
        """Run tasks until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._sweep_on)
                await self._dispatch_on(nursery)
                await trio.sleep_forever()
        finally:
            await self.desk.aclose()

    async def drain(self) -> None:
        """Begin nothing more; return when what runs has ended."""
        self._is_draining = True
        while self._running:
            await self._changed.wait()

    # What clients do.

    async def step(self, function: Callable[[Store, float], TaskInfo]) -> TaskInfo:
        """Run a client's step at the store; begin or end in this process what it calls for. Raises TaskError."""
        info = await self.desk.do(lambda store: function(store, self._wall()))
        if info.status in ENDED:
            self._end_here(info.id)
        else:
            self._news.set()
        return info

    async def ended(self, task_id: str, api: str, *, within: float) -> TaskInfo:
        """Return what is known of a task once it has ended, or after so many seconds. Raises TaskError."""
        deadline = trio.current_time() + within
        while True:
            changed = self._changed
            info = await self.desk.do(lambda store: store.info(task_id, api, self._wall()))
            left = deadline - trio.current_time()
            if info.status in ENDED or left <= 0:
                return info
            with trio.move_on_after(min(left, SWEEP)):  # another process may be the one that ends it
                await changed.wait()

    # What this process does.

    async def _dispatch_on(self, nursery: trio.Nursery) -> None:
        while not self._is_draining:
            if len(self._running) >= self._concurrency:
                await self._changed.wait()
                continue
            news = self._news = trio.Event()
            try:
                has_begun = await self._begin_next(nursery)
            except (NotNow, StoreUnusable):
                await trio.sleep(PAUSE)
            else:
                if not has_begun:
                    await news.wait()

    async def _begin_next(self, nursery: trio.Nursery) -> bool:
        """Begin a task; False when there is none to begin. Raises NotNow, StoreUnusable."""
        if not await self.desk.do(lambda store: store.has_next()):
            return False
        place = await self._performer.enter()
        task: Claimed | None = None
        try:
            if not self._is_draining:
                task = await self.desk.do(lambda store: store.claim(self._wall()))
        finally:
            if task is None:
                place.leave()
        if task is None:
            return False
        scope = trio.CancelScope()
        self._running[scope] = task.id
        nursery.start_soon(self._perform, place, task, scope)
        return True

    async def _perform(self, place: Place, task: Claimed, scope: trio.CancelScope) -> None:
        try:
            with scope:
                note = await self._outcome(place, task)
            if not scope.cancelled_caught:  # else it was cancelled, which is on disk already
                await self._note(task, note)
        finally:
            del self._running[scope]
            self._tell_changed()
            self._news.set()

    async def _outcome(self, place: Place, task: Claimed) -> Callable[[Store], Any]:
        """Run a task and return the step that notes what came of it."""
        try:
            result = await place.perform(task)
        except NotBegun:
            return lambda store: store.give_back(task.id)
        except Lost as error:
            fault = Fault(code="lost", message=str(error))
            return lambda store: store.lose(task.id, fault, self._wall())
        except Exception as error:  # noqa: BLE001 - whatever it was, it is what became of the task
            fault = self._performer.fault_of(task, error)
            return lambda store: store.fail(task.id, fault, self._wall())
        return lambda store: store.succeed(task.id, result, self._wall())

    async def _note(self, task: Claimed, step: Callable[[Store], Any]) -> None:
        pause = FIRST_RETRY
        while True:
            try:
                await self.desk.do(step)
            except StoreUnusable as error:
                if pause == FIRST_RETRY:
                    self._say(f"task {task.id} of {task.api} has ended, and that cannot be noted yet: {error}")
                await trio.sleep(pause)
                pause = min(2 * pause, LAST_RETRY)
            else:
                return

    async def _sweep_on(self) -> None:
        while True:
            with suppress(StoreUnusable):
                await self._sweep()
            await trio.sleep(SWEEP)

    async def _sweep(self) -> None:
        now = self._wall()
        again, lost = await self.desk.do(lambda store: store.recover(now))
        if again or lost:
            self._say(f"tasks of a process that ended: {again} are run again, {lost} are lost")
        await self.desk.do(partial(_expire_all, now=now))
        started = set(self._running.values())
        for task_id in started - await self.desk.do(lambda store: store.mine()):
            self._end_here(task_id)
        self.queued, _ = await self.desk.do(lambda store: store.counts())
        if self.queued:
            self._news.set()

    def _end_here(self, task_id: str) -> None:
        """End what this process still does for a task that has ended."""
        for scope, running in self._running.items():
            if running == task_id:
                scope.cancel()
        self._tell_changed()

    def _tell_changed(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


def _expire_all(store: Store, *, now: float) -> None:
    if store.expire(now):
        store.connection.execute("PRAGMA incremental_vacuum(1000)")
