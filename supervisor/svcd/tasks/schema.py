"""The file of the store: its tables, and how it is opened.

SQLite in WAL mode with `synchronous = FULL`: what was committed outlives the process and the machine's power
(https://sqlite.org/pragma.html#pragma_synchronous). Inputs and results have tables of their own, because SQLite writes
a whole row whenever one of its columns changes.
"""

from __future__ import annotations

import os
import sqlite3
import time
from errno import EDQUOT, ENOSPC
from pathlib import Path

from svcd.tasks.errors import StoreUnusable
from svcd.tasks.states import TaskStatus

VERSION = 1
APPLICATION_ID = 0x73766364
""""svcd", so that `file` and we know whose it is."""
MEMORY = ":memory:"
JOURNAL_LIMIT = 64 << 20
"""Bytes to which the -wal file is cut once its contents are in the file itself."""
LOCK_TIMEOUT = 10.0
"""Seconds to wait for another process that is writing."""

_STATES = ", ".join(f"'{state}'" for state in TaskStatus)
_TABLES = f"""
CREATE TABLE tasks (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of the queue
    id         TEXT NOT NULL UNIQUE,
    api        TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ({_STATES})),
    owner      INTEGER,                            -- who runs it, see owners.py
    idempotent INTEGER NOT NULL,
    timeout    REAL,
    retries    INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0,
    losses     INTEGER NOT NULL DEFAULT 0,         -- replicas that were lost while they ran it
    accept     TEXT NOT NULL,
    trace      TEXT,
    retry_of   TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    ended_at   REAL,
    expires_at REAL,
    fault_code TEXT,
    fault_text TEXT,
    fault_more BLOB,
    CHECK ((owner IS NOT NULL) = (state = '{TaskStatus.IN_PROGRESS}')),
    CHECK ((expires_at IS NULL) = (state IN ('{TaskStatus.QUEUED}', '{TaskStatus.IN_PROGRESS}')))
);
CREATE TABLE inputs (
    seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE, media_type TEXT NOT NULL, body BLOB NOT NULL
);
CREATE TABLE results (
    seq INTEGER PRIMARY KEY REFERENCES tasks ON DELETE CASCADE, media_type TEXT NOT NULL, body BLOB NOT NULL
);
CREATE INDEX queue ON tasks (seq) WHERE state = '{TaskStatus.QUEUED}';
CREATE INDEX running ON tasks (owner) WHERE state = '{TaskStatus.IN_PROGRESS}';
CREATE INDEX expiry ON tasks (expires_at) WHERE expires_at IS NOT NULL;
"""


def open_file(path: str) -> sqlite3.Connection:
    """Open the store at a path, or `:memory:`; make it when it is not there. In autocommit mode.

    Raises StoreUnusable saying why and what to do.
    """
    if path != MEMORY:
        _make_private(Path(path))
    try:
        connection = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    try:
        _check(connection, path)
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_LIMIT}")
    except sqlite3.Error as error:
        connection.close()
        raise unusable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL; while others open the file too, SQLite does not wait for that lock, so it is waited for here."""
    end = time.monotonic() + LOCK_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def unusable(path: str, error: sqlite3.Error) -> StoreUnusable:
    """Return what is said of an error of SQLite."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StoreUnusable(f"the task store {path} cannot grow: {error}; free space on its disk", is_full=True)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreUnusable(
            f"the task store {path} is damaged: {error}; try `sqlite3 {path} .recover`,"
            " or move it away with its -wal and -shm, which gives up the tasks in it: a new one is made"
        )
    return StoreUnusable(f"the task store {path} cannot be used: {error}; its folder and disk tell why")


def _make_private(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Inputs and results are nobody else's business; SQLite gives -wal and -shm the same mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StoreUnusable(
            f"the task store {path} cannot be opened: {error.strerror}; `store` under [app.tasks] names another place",
            is_full=error.errno in (ENOSPC, EDQUOT),
        ) from error


def _check(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables:
        check_version(connection, path)
    else:
        connection.execute("ROLLBACK")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # only before there is a table
        connection.execute("BEGIN IMMEDIATE")
        _create(connection)
    connection.execute("COMMIT")


def check_version(connection: sqlite3.Connection, path: str) -> None:
    """Raise StoreUnusable for a database that is no task store, or one of another svcd."""
    owner, version = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
    if owner != APPLICATION_ID:
        raise StoreUnusable(f"{path} is a database, but no task store; `store` under [app.tasks] names another place")
    if version != VERSION:
        raise StoreUnusable(
            f"the task store {path} has schema {version}, and this svcd knows {VERSION} only: run the svcd that wrote"
            " it, or move the file away with its -wal and -shm, which gives up the tasks in it"
        )


def _create(connection: sqlite3.Connection) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
        return  # another process was faster
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
