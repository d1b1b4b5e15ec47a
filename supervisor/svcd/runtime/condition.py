"""Notices what befalls the machine and the daemon, says so once when it begins and once when it is over."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import trio

from svcd.host.logs import stamp
from svcd.policy.condition import happened, starvation, troubles
from svcd.values.orders import Spawned, SpawnFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.runtime.journal import Journal
    from svcd.values.condition import Condition
    from svcd.values.orders import Event

INTERVAL = 2.0
"""Seconds between looks."""
_SHORT = {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
"""Why a process that could be started at another time cannot be started now."""


class ConditionWatch:
    """Looks from time to time, and remembers what is wrong."""

    def __init__(self, look: Callable[[], Condition], journal: Journal, note: Callable[[str], None]) -> None:
        """Take what looks, where it is written down, and who else is told."""
        self._look = look
        self._journal = journal
        self._note = note
        self._last: Condition | None = None
        self._wrong: dict[str, tuple[float, str]] = {}
        self._start = ""
        """Why the last process could not be started, where that was for want of something."""
        self.starved: Callable[[], Mapping[str, float]] = dict
        """Gives the replicas that wait for a processor, each with its longest wait in seconds."""

    def __repr__(self) -> str:
        """What is wrong."""
        return f"<ConditionWatch {list(self._wrong)}>"

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            self.judge(self._look())
            await trio.sleep(INTERVAL)

    def hear(self, event: Event) -> None:
        """Take note of how the start of a process went."""
        if isinstance(event, SpawnFailed) and event.errno in _SHORT:
            self._start = f"processes cannot be started: {event.message} ({os.strerror(event.errno)})"
        elif isinstance(event, Spawned):
            self._start = ""

    def wrong(self) -> list[dict[str, Any]]:
        """What is wrong now, each with `since` (an ISO instant) and `text`."""
        return [{"since": stamp(since), "text": text} for since, text in self._wrong.values()]

    def judge(self, now: Condition) -> None:
        """Say what has happened since the last look, and what began or ended to be wrong."""
        for text in happened(self._last, now) if self._last is not None else ():
            self._say("noticed", text)
        self._last = now
        found = troubles(now) | starvation(self.starved()) | ({"start": self._start} if self._start else {})
        for name in self._wrong.keys() - found.keys():
            _, text = self._wrong.pop(name)
            self._say("over", text)
        for name, text in found.items():
            since, told = self._wrong.get(name, (now.wall, ""))
            self._wrong[name] = since, text
            if not told:
                self._say("trouble", text)

    def _say(self, state: str, text: str) -> None:
        self._journal.note("machine", state, reason=text)
        self._note(f"{state}: {text}")
