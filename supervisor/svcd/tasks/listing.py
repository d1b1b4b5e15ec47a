"""What is in a store, for those who only look: nothing is locked, made or changed, and the app need not run."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from svcd.tasks.errors import UnknownTask
from svcd.tasks.schema import LOCK_TIMEOUT, check_version, unusable
from svcd.tasks.store import COLUMNS, info_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from svcd.tasks.records import TaskInfo
    from svcd.tasks.states import TaskStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Some of the tasks that were asked for, the newest first, and how many there are of them."""

    tasks: tuple[TaskInfo, ...] = ()
    total: int = 0


class Reader:
    """The store at a path, to be read."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __repr__(self) -> str:
        return f"<Reader of {self.path}>"

    def tasks(self, now: float, most: int, states: Collection[TaskStatus] = ()) -> Listing:
        """Return tasks in one of these states, or in any; none where there is no store.

        Args:
            now: Seconds since the epoch; what has expired by then is left out.
            most: How many are wanted.
            states: Which are meant; empty means all.

        Raises:
            StoreUnusable: It cannot be read, or is of another svcd.
        """
        if not Path(self.path).exists():
            return Listing()
        where, values = "(expires_at IS NULL OR expires_at > ?)", [now, *states]
        if states:
            where += f" AND state IN ({', '.join('?' * len(states))})"
        with self._opened() as connection:
            # The condition is a text of this module's own; whatever comes from outside is a value.
            (total,) = connection.execute(f"SELECT count(*) FROM tasks WHERE {where}", values).fetchone()  # noqa: S608 - see above
            rows = connection.execute(
                f"SELECT {COLUMNS} FROM tasks WHERE {where} ORDER BY seq DESC LIMIT ?",  # noqa: S608 - see above
                [*values, most],
            )
            return Listing(tasks=tuple(map(info_of, rows)), total=total)

    def task(self, task_id: str, now: float) -> TaskInfo:
        """Return what is known of a task. Raises UnknownTask, also for one that has expired, and StoreUnusable."""
        if Path(self.path).exists():
            with self._opened() as connection:
                row = connection.execute(f"SELECT {COLUMNS} FROM tasks WHERE id = ?", [task_id]).fetchone()  # noqa: S608 - no value
            info = row and info_of(row)
            if info and (info.expires_at is None or info.expires_at > now):
                return info
        raise UnknownTask(f"there is no task {task_id}: there never was one, or it has expired")

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            uri = f"file:{quote(self.path)}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT)) as connection:
                check_version(connection, self.path)
                yield connection
        except sqlite3.Error as error:
            raise unusable(self.path, error) from error
