"""The form of a log line, how a byte stream becomes lines, and how log files are read back.

A line of a log file is a stamp, a space and the text: `2025-01-02T03:04:05.678Z loading the model`. The stamp is UTC
with milliseconds, taken when the keeper read the line. A file PATH is rotated to PATH.1, PATH.2, ...; PATH.1 is the
youngest.
"""

from __future__ import annotations

import os
import time
from collections import deque
from contextlib import suppress
from typing import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

FILES_KEPT = 5
"""Files of one log, the one being written included."""
FILE_SIZE = 10 * 1024 * 1024
"""Bytes at which a file is rotated."""
LONGEST_LINE = 64 * 1024
"""Bytes of one line; a longer one is split."""

FILE_AGE = 7 * 24 * 60 * 60.0
"""Seconds since its first line at which a file is rotated."""
BURST = 16 * 1024 * 1024
"""Bytes that one process may print in WINDOW; what is more is dropped, and how much it was is said."""
WINDOW = 10.0
"""Seconds."""

MISSED = f"svcd: lines may be missing here: the {FILES_KEPT} files of this log were full before they could be read"
"""What a follower that was too slow says in their place."""

_STAMP_FORM = "0000-00-00T00:00:00.000Z "
_DIGITS_ALIKE = str.maketrans("123456789", "000000000")
_BLOCK = 64 * 1024


class LogLimits(NamedTuple):
    """How much a log keeps."""

    size: float = FILE_SIZE
    age: float = FILE_AGE
    burst: float = BURST


USUAL = LogLimits()


class LogLine(NamedTuple):
    """One line of a log file."""

    stamp: str
    """ISO 8601, UTC, milliseconds; empty when the line has none. Stamps compare as text."""
    text: str


def stamp(seconds: float) -> str:
    """Return the stamp of an instant, given in seconds of the Unix epoch."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{milliseconds:03d}Z"


def parse_line(text: str) -> LogLine:
    """Read a line of a log file, without its newline."""
    head = text[: len(_STAMP_FORM)]
    stamped = head.translate(_DIGITS_ALIKE) == _STAMP_FORM
    return LogLine(head[:-1], text[len(_STAMP_FORM) :]) if stamped else LogLine("", text)


class LineSplitter:
    """Bytes in, whole lines of text out; holds at most one line."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that these bytes complete; bytes that are not UTF-8 become U+FFFD."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        if len(self._rest) > LONGEST_LINE:
            *cut, self._rest = _cut(self._rest)
            lines += [piece.decode(errors="replace") for piece in cut]
        return lines

    def flush(self) -> list[str]:
        """Return what is left as a line, when the stream is over."""
        rest, self._rest = self._rest, b""
        return _pieces(rest) if rest else []


def _pieces(line: bytes) -> list[str]:
    if len(line) <= LONGEST_LINE:
        return [line.decode(errors="replace")]
    return [piece.decode(errors="replace") for piece in _cut(line)]


def _cut(line: bytes) -> Iterator[bytes]:
    """Cut a long line, not inside a character."""
    at = 0
    while len(line) - at > LONGEST_LINE:
        end = at + LONGEST_LINE
        for back in range(4):
            if line[end - back] & 0xC0 != 0x80:  # the byte begins a character
                end -= back
                break
        yield line[at:end]
        at = end
    yield line[at:]


def tail(path: str, count: int) -> list[LogLine]:
    """Return the last `count` lines of a log, oldest first, rotated files included; [] when there is no such log."""
    lines: list[str] = []
    for name in _names(path):
        if len(lines) >= count:
            break
        with suppress(OSError):
            lines = _last_lines(name, count - len(lines)) + lines
    return [parse_line(line) for line in lines]


def since(path: str, start: str) -> list[LogLine]:
    """Return the lines of a log from the stamp `start` on, oldest first, rotated files included."""
    found: list[LogLine] = []
    for name in reversed(_names(path)):
        with suppress(OSError):
            last = _last_lines(name, 1)
            if last and parse_line(last[0]).stamp < start and parse_line(last[0]).stamp:
                continue  # all of it is older
            found += [parse_line(line) for line in _all_lines(name)]
    at = next((index for index, line in enumerate(found) if line.stamp >= start), len(found))
    return found[at:]


def _names(path: str) -> list[str]:
    """The files of a log, youngest first."""
    return [path, *(f"{path}.{number}" for number in range(1, FILES_KEPT))]


def _all_lines(path: str) -> list[str]:
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib is a tenth of the keeper's start
        # The writer appends whole lines; what follows the last newline is one being written.
        return [line.decode(errors="replace") for line in file.read().split(b"\n")[:-1]]


def _last_lines(path: str, count: int) -> list[str]:
    if count <= 0:
        return []
    descriptor = os.open(path, os.O_RDONLY)
    try:
        at = os.fstat(descriptor).st_size
        tail_bytes = b""
        while at and tail_bytes.count(b"\n") <= count:
            start = max(0, at - _BLOCK)
            tail_bytes = os.pread(descriptor, at - start, start) + tail_bytes
            at = start
    finally:
        os.close(descriptor)
    lines = tail_bytes.split(b"\n")
    # The writer appends whole lines; what follows the last newline is one being written.
    return [line.decode(errors="replace") for line in lines[:-1][-count:]]


class LogFollower:
    """Reads what is appended to a log, across rotations; for `svcd logs -f`.

    It polls: call `read` again and again. It holds each file that it has seen, so that one is read to its end though it
    was rotated away meanwhile. When more than FILES_KEPT files fill up between two calls, what fell between is not
    there any more, and a line says so: see MISSED.
    """

    def __init__(self, path: str, *, from_start: bool = False) -> None:
        self._path = path
        self._held: deque[_Held] = deque()
        """The file that is being read, and those that came after it."""
        self._splitter = LineSplitter()
        self._stamp = ""
        """Of the last line."""
        with suppress(OSError):
            self._held.append(_Held.open(path))
            if not from_start:
                os.lseek(self._held[0].descriptor, 0, os.SEEK_END)

    def __repr__(self) -> str:
        """Which log."""
        return f"<LogFollower of {self._path}>"

    def read(self, limit: int = 1024 * 1024) -> list[LogLine]:
        """Return the lines written since the last call, about `limit` bytes of them at most; [] when there are none."""
        lines: list[LogLine] = []
        self._hold_new()
        while limit > 0 and self._held:
            data = os.read(self._held[0].descriptor, _BLOCK)
            limit -= len(data)
            for text in self._splitter.feed(data):
                lines.append(parse_line(text))
                self._stamp = lines[-1].stamp or self._stamp
            if not data:
                if len(self._held) == 1:
                    break
                os.close(self._held.popleft().descriptor)
                if self._held[0].is_after_gap:
                    lines.append(LogLine(self._stamp, MISSED))
        return lines

    def close(self) -> None:
        """Let go of the files."""
        while self._held:
            os.close(self._held.pop().descriptor)

    def _hold_new(self) -> None:
        """Open the files that came since the last look."""
        last = self._held[-1] if self._held else None
        # What is rotated moves towards the end of the names, as this does: a file may be met twice, and none is missed.
        found: list[_Held] = []
        for name in _names(self._path) if last else [self._path]:
            try:
                file = _Held.open(name)
            except OSError:
                continue
            if last and (file.is_same(last) or file.changed() < last.changed()):
                os.close(file.descriptor)
                break
            if found and file.is_same(found[-1]):
                os.close(file.descriptor)
            else:
                found.append(file)
        if len(found) == FILES_KEPT:  # all are new, and so may those be that made way for them
            found[-1] = found[-1]._replace(is_after_gap=True)
        self._held += reversed(found)


class _Held(NamedTuple):
    """A file that is open."""

    descriptor: int
    device: int
    inode: int
    is_after_gap: bool = False

    @classmethod
    def open(cls, path: str) -> _Held:
        """Open it. Raises OSError."""
        descriptor = os.open(path, os.O_RDONLY)
        found = os.fstat(descriptor)
        return cls(descriptor, found.st_dev, found.st_ino)

    def is_same(self, other: _Held) -> bool:
        """Whether both are one file: its number is not given away while it is open."""
        return (self.device, self.inode) == (other.device, other.inode)

    def changed(self) -> int:
        """Return when it was written to last, in nanoseconds of the Unix epoch."""
        return os.fstat(self.descriptor).st_mtime_ns
