"""The thread that has the store: it runs steps in transactions and answers when they are on disk.

Steps that come while one transaction is being written share the next: writing to disk is what costs, not the steps. The
event loop never waits for the disk; a step is not cancelled once it was handed in, so that its outcome is known.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

from svcd.tasks.errors import StoreUnusable
from svcd.tasks.owners import LockedOwners, OnlyOwner
from svcd.tasks.schema import MEMORY, open_file, unusable
from svcd.tasks.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.tasks.store import Bounds

T = TypeVar("T")

MOST = 128
"""Steps in one transaction."""


class Step:
    """Something to do with the store, and who waits for it."""

    __slots__ = ("_done", "_token", "function", "outcome")

    def __init__(self, function: Callable[[Store], Any]) -> None:
        self.function = function
        self.outcome: outcome.Outcome[Any] | None = None
        self._done = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def wait(self) -> Any:
        """Return or raise what the step did, once that is on disk."""
        with trio.CancelScope(shield=True):
            await self._done.wait()
        assert self.outcome is not None  # noqa: S101 - for the type checker
        return self.outcome.unwrap()

    def end(self) -> None:
        """Wake who waits. From the thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._done.set)


class Desk:
    """Opens the store when it is first needed, and again after it was found unusable.

    Args:
        path: Of the file, or `:memory:`.
        bounds: What the store takes.
        say: Told of trouble, and of its end; called on the thread.
    """

    def __init__(self, path: str, bounds: Bounds, say: Callable[[str], None] = lambda _: None) -> None:
        self.path = path
        self._bounds = bounds
        self._say = say
        self._store: Store | None = None
        self._steps: SimpleQueue[Step | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._inode = 0
        self._trouble = ""
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Desk {self.path}{f' ({self._trouble})' if self._trouble else ''}>"

    @property
    def trouble(self) -> str:
        """Why the last step could not be done; empty when it was."""
        return self._trouble

    async def do(self, function: Callable[[Store], T]) -> T:
        """Run a step in a transaction and return what it returned, once it is on disk.

        Raises what the step raised, with nothing of it done; StoreUnusable when the store fails.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._is_closed:
            raise StoreUnusable(f"the task store {self.path} is closed: svcd is stopping")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="svcd tasks", daemon=True)
            self._thread.start()
        step = Step(function)
        self._steps.put(step)
        value: T = await step.wait()
        return value

    async def aclose(self) -> None:
        """Finish the steps that were handed in, and close the file."""
        self._is_closed = True
        if self._thread is not None:
            self._steps.put(None)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._thread.join)

    def _run(self) -> None:
        going = True
        while going:
            steps = self._take()
            going = steps[-1] is not None
            todo = [step for step in steps if step is not None]
            if todo and not self._transact(todo) and len(todo) > 1:
                for step in todo:  # each by itself, so that only those fail that are to blame
                    self._transact([step])
            for step in todo:
                step.end()
        if self._store is not None:
            self._store.close()

    def _take(self) -> list[Step | None]:
        steps = [self._steps.get()]
        with suppress(Empty):
            while steps[-1] is not None and len(steps) < MOST:
                steps.append(self._steps.get_nowait())
        return steps

    def _transact(self, steps: list[Step]) -> bool:
        """Run steps in one transaction; False when the store failed, with nothing done and each told so."""
        try:
            store = self._opened()
            _commit(store, steps)
        except StoreUnusable as error:
            self._failed(steps, error)
            return False
        except sqlite3.Error as error:
            if self._store is not None and not isinstance(error, sqlite3.OperationalError):
                self._store.close()  # damaged, perhaps: another file may take its place
                self._store = None
            self._failed(steps, unusable(self.path, error))
            return False
        self._went_well()
        return True

    def _opened(self) -> Store:
        if self._store is not None and not self._is_there():
            self._store.close()
            self._store = None
        if self._store is None:
            connection = open_file(self.path)
            try:
                owners = OnlyOwner() if self.path == MEMORY else LockedOwners(f"{self.path}-owners")
            except OSError as error:
                connection.close()
                raise StoreUnusable(f"{self.path}-owners cannot be locked: {error.strerror}") from error
            self._inode = _inode(self.path)
            self._store = Store(connection, owners, self._bounds)
        return self._store

    def _is_there(self) -> bool:
        """Whether the file that is open is still the one at its path: it may have been moved away."""
        return self.path == MEMORY or _inode(self.path) == self._inode

    def _failed(self, steps: list[Step], error: StoreUnusable) -> None:
        for step in steps:
            step.outcome = outcome.Error(StoreUnusable(str(error), is_full=error.is_full))
        if error.is_full:
            return  # what is smaller may still fit, so this is no state of the store
        if not self._trouble:
            self._say(str(error))
        self._trouble = str(error)

    def _went_well(self) -> None:
        if self._trouble:
            self._say(f"the task store {self.path} works again")
        self._trouble = ""


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - once per transaction: a Path would cost more than the call
    except OSError:
        return 0


def _commit(store: Store, steps: list[Step]) -> None:
    """Run steps; what one of them raises undoes that one. Raises sqlite3.Error, with nothing done."""
    connection = store.connection
    connection.execute("BEGIN IMMEDIATE")
    try:
        for step in steps:
            connection.execute("SAVEPOINT step")
            step.outcome = outcome.capture(step.function, store)
            if isinstance(step.outcome, outcome.Error):
                if isinstance(step.outcome.error, sqlite3.Error):
                    raise step.outcome.error
                connection.execute("ROLLBACK TO step")
            connection.execute("RELEASE step")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
