"""The store against a model: whatever clients, runners and deaths do in whatever order.

No task is forgotten, none is run more often than it may be, and no state is left but by the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from svcd.tasks.errors import QueueFull, TaskNotDone, UnknownTask
from svcd.tasks.records import Fault, Result, Submission
from svcd.tasks.schema import MEMORY, open_file
from svcd.tasks.states import ENDED, OPEN, TRANSITIONS, TaskStatus
from svcd.tasks.store import Bounds, Store

BOUNDS = Bounds(max_queued=6, result_ttl=50)
FAULT = Fault(code="remote", message="it raised", more=b"\x00more")


class Deaths:
    """Owners that a test can kill."""

    def __init__(self, me: int, dead: set[int]) -> None:
        self.me = me
        self.dead = dead

    def is_alive(self, owner: int) -> bool:
        return owner not in self.dead

    def close(self) -> None:
        return None


@dataclass
class Model:
    """What should be known of one task."""

    number: int
    idempotent: bool
    retries: int
    status: TaskStatus = TaskStatus.QUEUED
    owner: int | None = None
    attempts: int = 0
    losses: int = 0
    expires_at: float | None = None
    result: Result | None = None
    visited: list[TaskStatus] = field(default_factory=list)

    has_come_back: bool = False
    """It was begun and waits again: an accepted task is never refused afterwards, however many others wait by then."""

    def become(self, status: TaskStatus, now: float, owner: int | None = None) -> None:
        assert status in TRANSITIONS[self.status]
        self.has_come_back |= status is TaskStatus.QUEUED
        self.status, self.owner = status, owner
        if status in ENDED:
            self.expires_at = now + BOUNDS.result_ttl


class StoreMachine(RuleBasedStateMachine):
    """Three processes share a store; each may die and come again under another number."""

    tasks = Bundle("tasks")

    @initialize()
    def begin(self) -> None:
        self.connection = open_file(MEMORY)
        self.dead: set[int] = set()
        self.last_owner = 0
        self.stores = [self.new_process() for _ in range(3)]
        self.now = 1000.0
        self.models: dict[str, Model] = {}
        self.count = 0

    def new_process(self) -> Store:
        self.last_owner += 1
        return Store(self.connection, Deaths(self.last_owner, self.dead), BOUNDS)

    def teardown(self) -> None:
        if hasattr(self, "connection"):
            self.connection.close()

    def add(self, task_id: str, *, idempotent: bool, retries: int) -> None:
        self.models[task_id] = Model(self.count, idempotent, retries)

    def queued(self) -> list[str]:
        waiting = [id_ for id_, model in self.models.items() if model.status is TaskStatus.QUEUED]
        return sorted(waiting, key=lambda id_: self.models[id_].number)

    def aimed(self, task_id: str, process: int, aim: int) -> str:
        """Return one that the process runs, where there is one and `aim` says so; else the task that was drawn."""
        me = self.stores[process]._owners.me
        running = [id_ for id_, m in self.models.items() if m.status is TaskStatus.IN_PROGRESS and m.owner == me]
        return running[aim % len(running)] if running and aim else task_id

    def fits(self, store: Store, task_id: str) -> bool:
        model = self.models[task_id]
        return model.status is TaskStatus.IN_PROGRESS and model.owner == store._owners.me

    @rule(target=tasks, idempotent=st.booleans(), retries=st.integers(0, 2), process=st.integers(0, 2))
    def submit(self, idempotent: bool, retries: int, process: int) -> object:
        self.count += 1
        task_id = f"task-{self.count}"
        retries = retries if idempotent else 0
        new = Submission(
            id=task_id, api="work", body=task_id.encode(), media_type="m", idempotent=idempotent, retries=retries
        )
        if len(self.queued()) >= BOUNDS.max_queued:
            with pytest.raises(QueueFull):
                self.stores[process].submit(new, self.now)
            return multiple()
        info = self.stores[process].submit(new, self.now)
        assert (info.status, info.attempts, info.created_at) == (TaskStatus.QUEUED, 0, self.now)
        self.add(task_id, idempotent=idempotent, retries=retries)
        assert self.stores[0].submit(new, self.now + 1) == info, "a second submission of an id adds nothing"
        return task_id

    @rule(process=st.integers(0, 2))
    def claim(self, process: int) -> None:
        store = self.stores[process]
        is_suspect_running = any(m.status is TaskStatus.IN_PROGRESS and m.losses for m in self.models.values())
        fit = [id_ for id_ in self.queued() if not (self.models[id_].losses and is_suspect_running)]
        assert store.has_next() == bool(fit)
        claimed = store.claim(self.now)
        if not fit:
            assert claimed is None
            return
        assert claimed is not None
        model = self.models[fit[0]]
        assert (claimed.id, claimed.body, claimed.attempt) == (fit[0], fit[0].encode(), model.attempts)
        model.become(TaskStatus.IN_PROGRESS, self.now, store._owners.me)
        model.attempts += 1

    @rule(task_id=tasks, process=st.integers(0, 2), aim=st.integers(0, 9))
    def give_back(self, task_id: str, process: int, aim: int) -> None:
        task_id = self.aimed(task_id, process, aim)
        fits = self.fits(self.stores[process], task_id)
        assert self.stores[process].give_back(task_id) == fits
        if fits:
            self.models[task_id].become(TaskStatus.QUEUED, self.now)
            self.models[task_id].attempts -= 1

    @rule(task_id=tasks, process=st.integers(0, 2), aim=st.integers(0, 9), body=st.binary(max_size=3))
    def succeed(self, task_id: str, process: int, aim: int, body: bytes) -> None:
        task_id = self.aimed(task_id, process, aim)
        fits = self.fits(self.stores[process], task_id)
        result = Result(media_type="r", body=body)
        assert self.stores[process].succeed(task_id, result, self.now) == fits
        if fits:
            self.models[task_id].become(TaskStatus.SUCCESS, self.now)
            self.models[task_id].result = result

    @rule(task_id=tasks, process=st.integers(0, 2), aim=st.integers(0, 9))
    def fail(self, task_id: str, process: int, aim: int) -> None:
        task_id = self.aimed(task_id, process, aim)
        fits = self.fits(self.stores[process], task_id)
        assert self.stores[process].fail(task_id, FAULT, self.now) == fits
        if fits:
            self.models[task_id].become(TaskStatus.FAILURE, self.now)

    @rule(task_id=tasks, process=st.integers(0, 2), aim=st.integers(0, 9))
    def lose_replica(self, task_id: str, process: int, aim: int) -> None:
        task_id = self.aimed(task_id, process, aim)
        fits, model = self.fits(self.stores[process], task_id), self.models[task_id]
        assert self.stores[process].lose(task_id, FAULT, self.now) == fits
        if fits and model.losses < model.retries:
            model.become(TaskStatus.QUEUED, self.now)
            model.losses += 1
        elif fits:
            model.become(TaskStatus.LOST, self.now)

    @rule(process=st.integers(0, 2))
    def die_and_recover(self, process: int) -> None:
        self.dead.add(self.stores[process]._owners.me)
        self.stores[process] = store = self.new_process()
        left = [m for m in self.models.values() if m.status is TaskStatus.IN_PROGRESS and m.owner in self.dead]
        again = sum(model.idempotent for model in left)
        assert store.recover(self.now) == (again, len(left) - again)
        for model in left:
            model.become(TaskStatus.QUEUED if model.idempotent else TaskStatus.LOST, self.now)

    @rule(task_id=tasks, process=st.integers(0, 2))
    def cancel(self, task_id: str, process: int) -> None:
        model = self.models[task_id]
        if self.is_gone(model):
            with pytest.raises(UnknownTask):
                self.stores[process].cancel(task_id, "work", self.now)
            return
        if model.status in OPEN:
            model.become(TaskStatus.CANCELLED, self.now)
        assert self.stores[process].cancel(task_id, "work", self.now).status is model.status

    @rule(target=tasks, task_id=tasks, process=st.integers(0, 2))
    def retry(self, task_id: str, process: int) -> object:
        store, model = self.stores[process], self.models[task_id]
        self.count += 1
        new_id = f"task-{self.count}"
        wrong = UnknownTask if self.is_gone(model) else TaskNotDone if model.status in OPEN else None
        wrong = wrong or (QueueFull if len(self.queued()) >= BOUNDS.max_queued else None)
        if wrong is not None:
            with pytest.raises(wrong):
                store.retry(task_id, new_id, "work", self.now)
            return multiple()
        info = store.retry(task_id, new_id, "work", self.now)
        assert (info.id, info.retry_of, info.status) == (new_id, task_id, TaskStatus.QUEUED)
        self.add(new_id, idempotent=model.idempotent, retries=model.retries)
        self.connection.execute(
            "UPDATE inputs SET body = ? WHERE seq = (SELECT seq FROM tasks WHERE id = ?)", (new_id.encode(), new_id)
        )
        return new_id

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(process=st.integers(0, 2))
    def expire(self, process: int) -> None:
        due = [id_ for id_, model in self.models.items() if self.is_due(model)]
        assert self.stores[process].expire(self.now) == len([1 for id_ in due if not self.is_deleted(id_)])

    @rule(task_id=consumes(tasks))
    def forget(self, task_id: str) -> None:
        """Let the others be chosen more often."""

    def is_due(self, model: Model) -> bool:
        return model.expires_at is not None and model.expires_at <= self.now

    is_gone = is_due

    def is_deleted(self, task_id: str) -> bool:
        if not hasattr(self, "removed"):
            self.removed: set[str] = set()
        known = task_id in self.removed
        self.removed.add(task_id)
        return known

    @invariant()
    def every_task_is_where_the_model_has_it(self) -> None:
        if not hasattr(self, "models"):
            return
        for task_id, model in self.models.items():
            if self.is_gone(model):
                with pytest.raises(UnknownTask):
                    self.stores[0].info(task_id, "work", self.now)
                continue
            info = self.stores[0].info(task_id, "work", self.now)
            assert (info.status, info.attempts, info.expires_at) == (model.status, model.attempts, model.expires_at)
            if model.status is TaskStatus.FAILURE:
                assert info.fault == FAULT
            if model.result is not None:
                assert self.stores[1].result(task_id) == model.result
            if not model.idempotent:
                assert model.attempts <= 1, "begun twice, though it may be only once"
        queued, running = self.stores[0].counts()
        assert queued == len(self.queued())
        assert sum(not self.models[id_].has_come_back for id_ in self.queued()) <= BOUNDS.max_queued
        assert running == sum(model.status is TaskStatus.IN_PROGRESS for model in self.models.values())


StoreMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestStore = StoreMachine.TestCase
