"""All that happens, told to everybody: the daemon's log in sentences, the file of events in JSON, and subscribers.

Law: telling never blocks and never raises; a disk that takes no more costs lines, not service.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from svcd.host.logs import stamp, tail
from svcd.values.events import Note, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.host.log_files import LogFile
    from svcd.runtime.bus import Bus
    from svcd.values.events import Change


class Journal:
    """Where the daemon writes down what happens."""

    def __init__(self, log: LogFile, events: LogFile, bus: Bus, clock: Callable[[], float] = time.time) -> None:
        """Take the daemon's log, the file of events, and the bus of changes."""
        self._log = log
        self._events = events
        self._bus = bus
        self._clock = clock

    def __repr__(self) -> str:
        """Where it writes."""
        return f"<Journal {self._events!r}>"

    def begin(self, reason: str) -> None:
        """Note that the daemon has started, and first that the one before ended without a word if it did."""
        last = tail(self._events.path, 1)
        if last and not _is_end(last[0].text):
            self.note("daemon", "lost", reason="the daemon before this one did not stop in order")
        self.note("daemon", "started", reason=reason)

    def say(self, text: str) -> None:
        """Write a sentence to the daemon's log alone."""
        self._log.write(text.splitlines() or [""])

    def change(self, change: Change) -> None:
        """Write down a step of a replica, and wake the subscribers."""
        self._bus.tell(change)
        self.say(change.sentence())
        self._record(change)

    def note(
        self,
        kind: str,
        state: str = "",
        *,
        before: str = "",
        service: str = "",
        replica: int | None = None,
        reason: str = "",
    ) -> None:
        """Write down what happened to no replica in particular; for the words see `Note`."""
        note = Note(
            time=self._clock(), kind=kind, state=state, before=before, service=service, replica=replica, reason=reason
        )
        self.say(note.sentence())
        self._record(note)

    def _record(self, event: Change | Note) -> None:
        missing: list[str] = []
        if self._events.dropped:
            reason = f"{self._events.dropped} events were lost here: {self._events.reason}"
            missing.append(line(Note(time=self._clock(), kind="daemon", state="lost", reason=reason)))
        self._events.write([line(event)], notice=missing)


def line(event: Change | Note) -> str:
    """Return the event as a line of the file of events."""
    fields = record(event)
    return json.dumps(fields | {"time": stamp(fields["time"])}, ensure_ascii=False)


def _is_end(text: str) -> bool:
    try:
        event = json.loads(text)
    except ValueError:
        return False
    return event.get("kind") == "daemon" and event.get("to") in {"stopped", "left"}
