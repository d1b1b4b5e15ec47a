"""Log files as the keeper writes them: whole stamped lines, rotated by size and age, with a bound for floods.

Law: writing never raises and never waits for anything but the disk. Lines that cannot be written are counted, and the
log says so once when it works again; so are those that were more than a process may print.
"""

from __future__ import annotations

import os
import stat
import time
from collections import deque
from contextlib import suppress

from svcd.host.logs import FILE_AGE, FILE_SIZE, FILES_KEPT, USUAL, WINDOW, LineSplitter, LogLimits, parse_line, stamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

EVENTS_SIZE = 2 * 1024 * 1024
"""Bytes at which the file of events is rotated: some five thousand events."""
_READ_SIZE = 64 * 1024
"""Bytes taken from one pipe before the other pipes and the link get their turn: a pipe's own size."""
_LINES_REMEMBERED = 50
_LONGEST_REMEMBERED = 2000
"""Characters of a remembered line; the log has all of it."""
_AGES = 60.0
"""Seconds between looks at the age of a file."""
_OPEN = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def open_private(path: str) -> BinaryIO:
    """Open a log for appending what others write, such as a process's standard error; for its owner alone."""
    descriptor = os.open(path, _OPEN, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)  # it may be of a time when others could read it
    return os.fdopen(descriptor, "ab")


class LogFile:
    """One log, appended to."""

    def __init__(
        self,
        path: str,
        *,
        size: float = FILE_SIZE,
        age: float = FILE_AGE,
        kept: int = FILES_KEPT,
        clock: Callable[[], float] = time.time,
        stamped: bool = True,
    ) -> None:
        """Take the path, the bytes and the age of its first line at which it is rotated, and how many files are kept.

        stamped: whether each line begins with its time. One that does not says nothing of lines it has lost, either:
        that is for whoever knows its form.
        """
        self.path = path
        self.dropped = 0
        """Lines that could not be written since the last one that could."""
        self._size = size
        self._age = age
        self._kept = kept
        self._clock = clock
        self._descriptor: int | None = None
        self._first = ""
        """The stamp of the file's first line; empty while it has none, or is not looked at."""
        self._looked = 0.0
        """When its age was looked at."""
        self.reason = ""
        """Why lines could not be written the last time."""
        self._stamped = stamped

    def __repr__(self) -> str:
        """Where it writes, and what it could not."""
        return f"<LogFile {self.path}" + (f", {self.dropped} lines dropped: {self.reason}>" if self.dropped else ">")

    def create(self) -> None:
        """Make the file, so that a process that prints nothing has a log all the same."""
        with suppress(OSError):  # the first line that cannot be written will say so
            self._current()

    def write(self, lines: Sequence[str], *, notice: Sequence[str] = ()) -> None:
        """Append the lines, each whole and with the stamp of now; a log without a path keeps none.

        notice: Lines before them that tell of others that were dropped, and do not count when they are dropped too.
        """
        if not lines or not self.path:
            return
        prefix = stamp(self._clock()) + " " if self._stamped else ""
        if self.dropped and self._stamped:
            notice = [*notice, f"svcd: {self.dropped} lines were lost here: {self.reason}"]
        text = "".join([f"{prefix}{line}\n" for line in (*notice, *lines)])
        try:
            self._append(text.encode(errors="replace"))
        except OSError as error:
            self.dropped += len(lines)
            self.reason = error.strerror or str(error)
            self.close()
        else:
            self.dropped = 0

    def close(self) -> None:
        """Let go of the file; a later write opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _append(self, data: bytes) -> None:
        descriptor, length = self._current()
        if length and (length + len(data) > self._size or self._is_old()):
            self.close()
            self._rotate()
            descriptor, length = self._current()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(descriptor, length)  # half a line must not stay
            raise

    def _is_old(self) -> bool:
        now = self._clock()
        if not self._stamped or abs(now - self._looked) < _AGES:
            return False
        self._looked = now
        if not self._first:
            self._first = _first_stamp(self.path)
        return bool(self._first) and self._first < stamp(now - self._age)

    def _current(self) -> tuple[int, int]:
        """The descriptor of the file that is at the path now, and its length."""
        if self._descriptor is not None:
            with suppress(FileNotFoundError):
                there = os.stat(self.path)  # noqa: PTH116 - pathlib is a tenth of the keeper's start
                if os.path.samestat(there, os.fstat(self._descriptor)):
                    return self._descriptor, there.st_size
            self.close()  # somebody moved or removed it
        try:
            self._descriptor = os.open(self.path, _OPEN, 0o600)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)  # noqa: PTH103, PTH120 - as above
            self._descriptor = os.open(self.path, _OPEN, 0o600)
        return self._descriptor, os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self._first = ""
        for number in range(self._kept - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            with suppress(FileNotFoundError):
                os.replace(older, f"{self.path}.{number}")  # noqa: PTH105 - as above


def _first_stamp(path: str) -> str:
    """The stamp of a file's first line that has one within its first block; empty when there is none."""
    with suppress(OSError), open(path, "rb") as file:  # noqa: PTH123 - as above
        for line in file.read(4096).split(b"\n"):
            if first := parse_line(line.decode(errors="replace")).stamp:
                return first
    return ""


class LogFiles:
    """The open logs; processes that write to one path share the file, so that rotation stays whole."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[LogFile, int]] = {}

    def open(self, path: str, limits: LogLimits = USUAL) -> LogFile:
        """Return the log at this path; to be given back with `release`. The limits are those of who opens it first."""
        log, users = self._open.get(path) or (LogFile(path, size=limits.size, age=limits.age), 0)
        self._open[path] = (log, users + 1)
        log.create()
        return log

    def release(self, log: LogFile) -> None:
        """Close the log when nobody else writes to it."""
        _, users = self._open.pop(log.path)
        if users > 1:
            self._open[log.path] = (log, users - 1)
        else:
            log.close()


class LogPump:
    """Moves what a process prints from its pipe to its log, as far as it is no flood."""

    def __init__(
        self,
        pipe: int,
        log: LogFile,
        limits: LogLimits = USUAL,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pipe = pipe
        self.log = log
        self._burst = limits.burst
        self._clock = clock
        self._splitter = LineSplitter()
        self._recent: deque[str] = deque(maxlen=_LINES_REMEMBERED)
        self._window = -WINDOW
        """When the present stretch of time began."""
        self._printed = 0
        """Bytes in it."""
        self._flooded = 0
        """Lines dropped, because they were more than may be printed, since the last that was written."""

    @property
    def last_lines(self) -> list[str]:
        """The last lines, oldest first, without stamps."""
        return list(self._recent)

    def pump(self) -> bool:
        """Move what is there, a bounded amount; False at the end of the stream."""
        return self._move() is not False

    def drain(self, limit: int = 16 * _READ_SIZE) -> None:
        """Move all that is there, the rest of a line too; up to `limit` bytes, as a grandchild may be flooding it."""
        for _ in range(limit // _READ_SIZE):
            if not self._move():
                break
        self._write(self._splitter.flush(), 0)
        self._end_flood()

    def close(self) -> None:
        """Write what is left and close the pipe."""
        self._write(self._splitter.flush(), 0)
        self._end_flood()
        os.close(self.pipe)

    def _move(self) -> bool | None:
        """True when something was moved, None when nothing is there now, False at the end."""
        try:
            data = os.read(self.pipe, _READ_SIZE)
        except BlockingIOError:
            return None
        if not data:
            return False
        self._write(self._splitter.feed(data), len(data))
        return True

    def _write(self, lines: list[str], size: int) -> None:
        """Take lines that were `size` bytes."""
        is_flood = self._is_flood(size)
        if not lines:
            return
        if is_flood:
            if not self._flooded:
                self.log.write(
                    [f"svcd: more than {self._burst:.0f} bytes within {WINDOW:g} s: lines are dropped from here"]
                )
            self._flooded += len(lines)
        else:
            if self._flooded:
                self.log.write([f"svcd: {self._flooded} lines were dropped here"])
                self._flooded = 0
            self.log.write(lines)
        self._recent.extend(line[:_LONGEST_REMEMBERED] for line in lines[-_LINES_REMEMBERED:])

    def _is_flood(self, size: int) -> bool:
        now = self._clock()
        if now - self._window >= WINDOW:
            self._window, self._printed = now, 0
        self._printed += size
        return self._printed > self._burst

    def _end_flood(self) -> None:
        """Write the last lines of a flood all the same: they are the last words."""
        if self._flooded:
            last = self.last_lines[-self._flooded :]
            self.log.write([f"svcd: {self._flooded - len(last)} lines were dropped here", *last])
            self._flooded = 0
