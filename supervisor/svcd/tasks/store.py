"""The store: every step of a task's life as one statement or two, to be run within a transaction.

Law: a step says from which state it leads, and whose the task is; what another process did meanwhile (a cancellation,
above all) is thereby never undone. A step that comes too late changes nothing and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from svcd.tasks.errors import QueueFull, StoreUnusable, TaskExists, UnknownTask, not_done
from svcd.tasks.records import Claimed, Fault, Result, Submission, TaskInfo
from svcd.tasks.states import ENDED, TaskStatus

if TYPE_CHECKING:
    import sqlite3

    from svcd.tasks.owners import Owners

COLUMNS = (
    "id, api, state, attempts, created_at, started_at, ended_at, expires_at, retry_of,"
    " fault_code, fault_text, fault_more"
)
"""What `info_of` wants of a task."""
_INFO = f"SELECT {COLUMNS} FROM tasks WHERE id = ?"  # noqa: S608 - no value
_NEXT = """
SELECT seq FROM tasks WHERE state = 'queued' AND (
    losses = 0 OR NOT EXISTS (SELECT 1 FROM tasks WHERE state = 'in_progress' AND losses > 0)
) ORDER BY seq LIMIT 1
"""
"""The first that may be run now. Those whose replica was lost go one at a time: if one of them is what kills its
replica, it does not take the others with it."""
BATCH = 500
"""Expired tasks that are removed at one time, so that others need not wait long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What the store takes."""

    max_queued: int = 10_000
    """Tasks that wait to be begun."""
    max_size: int = 8 << 30
    """Bytes of inputs and results beyond which nothing more is accepted; results of what was accepted always are."""
    result_ttl: float = 86_400.0
    """Seconds for which a task is remembered once it has ended."""


class Store:
    """The tasks in one file, as one process sees them.

    Args:
        connection: See `schema.open_file`.
        owners: Who this process is, and which others live.
        bounds: What is accepted, and how long it is kept.
    """

    def __init__(self, connection: sqlite3.Connection, owners: Owners, bounds: Bounds) -> None:
        self.connection = connection
        self._owners = owners
        self._bounds = bounds

    def __repr__(self) -> str:
        return f"<Store owned by {self._owners.me:x}>"

    def close(self) -> None:
        """Let go of file and lock."""
        self.connection.close()
        self._owners.close()

    # Steps that clients take.

    def submit(self, new: Submission, now: float, retry_of: str | None = None) -> TaskInfo:
        """Accept a task; one of this id that is there already is returned as it is, and nothing is added.

        Raises QueueFull, StoreUnusable (the store is full), TaskExists (the id is another api's task).
        """
        known = self._one(_INFO, new.id)
        if known is not None:
            if known[1] != new.api:
                raise TaskExists(f"the id {new.id} is that of a task of {known[1]}")
            return info_of(known)
        self._check_room(len(new.body))
        cursor = self._run(
            "INSERT INTO tasks (id, api, state, idempotent, timeout, retries, accept, trace, retry_of, created_at)"
            " VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?, ?)",
            *(new.id, new.api, new.idempotent, new.timeout, new.retries, new.accept, new.trace, retry_of, now),
        )
        self._run("INSERT INTO inputs VALUES (?, ?, ?)", cursor.lastrowid, new.media_type, new.body)
        return self.info(new.id, new.api, now)

    def retry(self, task_id: str, new_id: str, api: str, now: float) -> TaskInfo:
        """Accept a task with the input of one that has ended. Raises UnknownTask, TaskNotDone, and as `submit`."""
        old = self.info(task_id, api, now)
        if old.status not in ENDED:
            raise not_done(task_id, old.status)
        row = self._one(
            "SELECT body, media_type, accept, idempotent, timeout, retries FROM tasks JOIN inputs USING (seq)"
            " WHERE id = ?",
            task_id,
        )
        body, media_type, accept, idempotent, timeout, retries = row or ()
        again = Submission(
            id=new_id,
            api=api,
            body=body,
            media_type=media_type,
            accept=accept,
            idempotent=bool(idempotent),
            timeout=timeout,
            retries=retries,
        )
        return self.submit(again, now, retry_of=task_id)

    def cancel(self, task_id: str, api: str, now: float) -> TaskInfo:
        """End a task that has not ended, and return what it is now. Raises UnknownTask."""
        self._end(
            TaskStatus.CANCELLED, now, "id = ? AND api = ? AND state IN ('queued', 'in_progress')", (task_id, api)
        )
        return self.info(task_id, api, now)

    def info(self, task_id: str, api: str, now: float) -> TaskInfo:
        """Return what is known of a task. Raises UnknownTask, also for one that has expired."""
        row = self._one(_INFO, task_id)
        if row is None or row[1] != api or (row[7] is not None and row[7] <= now):
            raise UnknownTask(f"{api} has no task {task_id}: there never was one, or it has expired")
        return info_of(row)

    def result(self, task_id: str) -> Result:
        """Return the result of a task that succeeded."""
        row = self._one("SELECT media_type, body FROM tasks JOIN results USING (seq) WHERE id = ?", task_id)
        if row is None:
            raise UnknownTask(f"task {task_id} has no result")
        return Result(media_type=row[0], body=row[1])

    # Steps of whoever runs tasks.

    def has_next(self) -> bool:
        """Whether there is a task to claim."""
        return self._one(_NEXT) is not None

    def claim(self, now: float) -> Claimed | None:
        """Take the next task to run it in this process; None when there is none. It counts as begun from now on."""
        row = self._one(_NEXT)
        if row is None:
            return None
        self._run(
            "UPDATE tasks SET state = 'in_progress', owner = ?, started_at = ?, attempts = attempts + 1 WHERE seq = ?",
            *(self._owners.me, now, row[0]),
        )
        task = self._one(
            "SELECT id, api, body, media_type, accept, trace, timeout, attempts FROM tasks JOIN inputs USING (seq)"
            " WHERE seq = ?",
            row[0],
        )
        id_, api, body, media_type, accept, trace, timeout, attempts = task or ()
        return Claimed(
            id=id_,
            api=api,
            body=body,
            media_type=media_type,
            accept=accept,
            trace=trace,
            timeout=timeout,
            attempt=attempts - 1,
        )

    def give_back(self, task_id: str) -> bool:
        """Put a task that was not begun after all back to where it was in the queue."""
        return self._change(
            "state = 'queued', owner = NULL, attempts = attempts - 1, started_at = NULL", *self._mine(task_id)
        )

    def succeed(self, task_id: str, result: Result, now: float) -> bool:
        """Note the result."""
        if not self._end(TaskStatus.SUCCESS, now, *self._mine(task_id)):
            return False
        self._run(
            "INSERT INTO results SELECT seq, ?, ? FROM tasks WHERE id = ?", result.media_type, result.body, task_id
        )
        return True

    def fail(self, task_id: str, fault: Fault, now: float) -> bool:
        """Note that there will be no result."""
        return self._end(TaskStatus.FAILURE, now, *self._mine(task_id), fault) == 1

    def lose(self, task_id: str, fault: Fault, now: float) -> bool:
        """Note that the replica died that ran it: it is run again if it may, else it is lost."""
        where, values = self._mine(task_id)
        again = self._change(
            "state = 'queued', owner = NULL, losses = losses + 1", f"{where} AND losses < retries", values
        )
        return again or self._end(TaskStatus.LOST, now, where, values, fault) == 1

    def recover(self, now: float) -> tuple[int, int]:
        """Take the tasks of owners that have died; return how many are queued again, and how many are lost."""
        again = lost = 0
        for (owner,) in self._run("SELECT DISTINCT owner FROM tasks WHERE state = 'in_progress'").fetchall():
            if self._owners.is_alive(owner):
                continue
            cursor = self._run(
                "UPDATE tasks SET state = 'queued', owner = NULL"
                " WHERE state = 'in_progress' AND owner = ? AND idempotent",
                owner,
            )
            again += cursor.rowcount
            why = Fault(code="lost", message="svcd was ended while the task may have been running")
            lost += self._end(TaskStatus.LOST, now, "state = 'in_progress' AND owner = ?", (owner,), why)
        return again, lost

    def mine(self) -> set[str]:
        """Return the tasks that this process is to run; others of those it took have been cancelled."""
        rows = self._run("SELECT id FROM tasks WHERE state = 'in_progress' AND owner = ?", self._owners.me)
        return {id_ for (id_,) in rows}

    def expire(self, now: float) -> int:
        """Forget ended tasks whose time is up, some at a time; return how many."""
        cursor = self._run(
            "DELETE FROM tasks WHERE seq IN (SELECT seq FROM tasks WHERE expires_at <= ? LIMIT ?)", now, BATCH
        )
        return cursor.rowcount

    def counts(self) -> tuple[int, int]:
        """Return how many tasks are queued, and how many are in progress."""
        return self._count("state = 'queued'"), self._count("state = 'in_progress'")

    # How.

    def _check_room(self, size: int) -> None:
        bounds = self._bounds
        queued = self._count("state = 'queued'")
        if queued >= bounds.max_queued:
            raise QueueFull(f"{queued} tasks wait already (max_queued under [app.tasks])")
        pages, free, page_size = (
            self._run(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        used = (pages - free) * page_size
        if used + size > bounds.max_size:
            raise StoreUnusable(
                f"inputs and results have {used} bytes, and with these {size} more than {bounds.max_size}"
                " (max_size under [app.tasks])",
                is_full=True,
            )

    def _mine(self, task_id: str) -> tuple[str, tuple[Any, ...]]:
        return "id = ? AND owner = ? AND state = 'in_progress'", (task_id, self._owners.me)

    # The conditions are texts of this module's own; whatever comes from outside is a value.

    def _end(
        self, status: TaskStatus, now: float, where: str, values: tuple[Any, ...], fault: Fault | None = None
    ) -> int:
        fault = fault or Fault(code="", message="")
        cursor = self._run(
            "UPDATE tasks SET state = ?, owner = NULL, ended_at = ?, expires_at = ?,"  # noqa: S608 - see above
            f" fault_code = ?, fault_text = ?, fault_more = ? WHERE {where}",
            *(status, now, now + self._bounds.result_ttl),
            *(fault.code or None, fault.message, fault.more),
            *values,
        )
        return cursor.rowcount

    def _change(self, how: str, where: str, values: tuple[Any, ...]) -> bool:
        return self._run(f"UPDATE tasks SET {how} WHERE {where}", *values).rowcount == 1  # noqa: S608 - see above

    def _count(self, where: str) -> int:
        count: int = self._run(f"SELECT count(*) FROM tasks WHERE {where}").fetchone()[0]  # noqa: S608 - see above
        return count

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._run(statement, *values).fetchone()
        return row

    def _run(self, statement: str, *values: Any) -> sqlite3.Cursor:
        return self.connection.execute(statement, values)


def info_of(row: tuple[Any, ...]) -> TaskInfo:
    """Return what the COLUMNS of a task say."""
    id_, api, state, attempts, created_at, started_at, ended_at, expires_at, retry_of, code, text, more = row
    return TaskInfo(
        id=id_,
        api=api,
        status=TaskStatus(state),
        attempts=attempts,
        created_at=created_at,
        started_at=started_at,
        ended_at=ended_at,
        expires_at=expires_at,
        retry_of=retry_of,
        fault=Fault(code=code, message=text, more=more or b"") if code else None,
    )
