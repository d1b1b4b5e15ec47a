"""The queue of tasks in this process; imported where the entry has tasks, because of SQLite."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from svcd.ingress.task_runs import EntryPerformer
from svcd.tasks.desk import Desk
from svcd.tasks.runner import Runner
from svcd.tasks.store import Bounds

if TYPE_CHECKING:
    from svcd.ingress.entry import Entry
    from svcd.ingress.log import Log
    from svcd.values.tasks import TaskSettings


def make_runner(settings: TaskSettings, entry: Entry, log: Log) -> Runner:
    """Return what runs the tasks of the entry."""
    bounds = Bounds(max_queued=settings.max_queued, max_size=settings.max_size, result_ttl=settings.result_ttl)
    return Runner(
        Desk(settings.store, bounds, log.line),
        EntryPerformer(entry.route, log),
        concurrency=settings.concurrency or inf,
        say=log.line,
    )
