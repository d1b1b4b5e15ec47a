"""What the service's code says through `logging`, written so that `svcd logs` knows level, logger and trace of it.

Whatever the service sets up itself stays as it is, but for one thing: a plain handler of the root logger that writes
to the process's own output, as `logging.basicConfig` makes, is replaced by one that writes records. Levels and filters
stay. Of a service that sets up nothing, Python shows warnings and worse; these become records too.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

from svcd.values.records import Record, write
from svcd_ipc.calls import current_call

_STDERR = 2
_LONGEST = 48 * 1024
"""Bytes of a record's line: the keeper cuts lines of more than 64 KiB, and half a record is none."""
_KEPT = 1000
"""Characters of the message and of the traceback's end that are left of a record that is longer."""


class RecordHandler(logging.Handler):
    """Writes records to the process's standard error, each as one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; logging has taken this handler's lock."""
        try:
            line = write(_told(record))
            if len(line) * 4 > _LONGEST and len(line.encode(errors="replace")) > _LONGEST:
                line = write(_cut(_told(record)))
            data = memoryview(line.encode(errors="replace") + b"\n")
            with suppress(OSError):  # the service has closed its standard error: there is nobody to tell
                while data:
                    data = data[os.write(_STDERR, data) :]
        except Exception:  # noqa: BLE001 - as every handler: a message that cannot be formatted is reported, not raised
            self.handleError(record)


def _told(record: logging.LogRecord) -> Record:
    exception = ""
    if record.exc_info and record.exc_info[0] is not None:
        exception = logging.Formatter().formatException(record.exc_info)
    if record.stack_info:
        exception += ("\n" if exception else "") + record.stack_info
    call = current_call()
    trace = call.trace.split("-")[1] if call is not None and call.trace and call.trace.count("-") == 3 else ""
    return Record(record.levelname, record.name, record.getMessage(), trace, exception)


def _cut(record: Record) -> Record:
    more = len(record.message) - _KEPT
    message = f"{record.message[:_KEPT]}... ({more} characters more)" if more > 0 else record.message
    return record._replace(message=message, exception=record.exception[-_KEPT:])


def begin() -> None:
    """Make records of what a service says that sets up no logging."""
    handler = RecordHandler()
    handler.setLevel(logging.WARNING)  # as the one whose place it takes
    logging.lastResort = handler


def adopt() -> None:
    """Take the place of the plain handlers that the service's code has meanwhile put on the root logger."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler.stream in {sys.stdout, sys.stderr}:
            ours = RecordHandler(handler.level)
            ours.filters = handler.filters
            root.handlers[root.handlers.index(handler)] = ours
