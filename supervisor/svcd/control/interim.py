"""What a daemon that takes over tells while it reads the graph: what the last one left, and what /proc says.

Nothing of it can be changed yet: orders wait for the app, see `control.door`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from svcd import __version__
from svcd.control.story import past, with_states
from svcd.policy.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.control.status import Look
    from svcd.runtime.heritage import Heritage, ReplicaNote
    from svcd_ipc.channel import IncomingCall

TAKING = "it is being taken over"
_RUNNING = frozenset({State.STARTING, State.READY, State.UNREADY, State.DRAINING})


class Interim:
    """Answers for an app that goes on, and that this daemon does not have yet."""

    requests = frozenset({"info", "ps", "status", "troubles"})

    def __init__(self, heritage: Heritage, look: Look, wrong: Callable[[], list[dict[str, Any]]]) -> None:
        """wrong: what ails the machine, as `ConditionWatch.wrong`."""
        self._heritage = heritage
        self._look = look
        self._wrong = wrong
        self._notes = sorted(heritage.replicas, key=lambda note: (note.service, note.index))

    def __repr__(self) -> str:
        """How much there is to tell."""
        return f"<Interim of {len(self._notes)} replicas>"

    async def answer(self, call: IncomingCall) -> Any:
        """Answer one of `requests`."""
        match call.api:
            case "info":
                return self._info()
            case "ps":
                return self._rows()
            case "troubles":
                return self._wrong()
        return self._status(call.args.get("service"))

    def _info(self) -> dict[str, Any]:
        return self._heritage.info | {"pid": os.getpid(), "svcd": __version__}

    def _rows(self) -> list[dict[str, Any]]:
        pids = {note.process_id: kept.pid for note in self._notes if (kept := self._kept(note))}
        usages = self._look(pids.values())
        return [
            {
                "service": service,
                "version": note.versions.get(service, ""),
                "replica": note.index,
                "process": note.name,
                "state": self._state(note),
                "pid": pids.get(note.process_id),
                "gpus": note.gpus,
                "cpu_percent": usage.cpu_percent if usage else None,
                "rss_bytes": usage.rss_bytes if usage else None,
                "gpu_memory_bytes": None,
                "restarts": max(0, note.generation - 1),
                "since": datetime.fromtimestamp(note.since, UTC).isoformat(timespec="milliseconds"),
                "in_flight": None,
                "queued": None,
                "last_exit": note.last_exit,
                "reason": note.reason or TAKING,
            }
            for note in self._notes
            for usage in (usages.get(pids.get(note.process_id, 0)),)
            for service in self._services(note)
        ]

    def _services(self, note: ReplicaNote) -> list[str]:
        """Those that the process has, the one that it is named for first."""
        members = self._heritage.units.get(note.service, {}).get("shared_by", ())
        return [note.service, *(each for each in members if each != note.service)]

    def _kept(self, note: ReplicaNote) -> Any:
        kept = self._heritage.kept.get(note.process_id)
        return kept if kept is not None and not kept.has_ended else None

    def _state(self, note: ReplicaNote) -> str:
        """One that ended while nobody was there comes back once there is an app."""
        has_ended = note.state in _RUNNING and self._kept(note) is None
        return str(State.BACKOFF) if has_ended else note.state

    def _status(self, asked: str | None) -> dict[str, Any]:
        rows = self._rows()
        units = self._heritage.units
        homes = {member: name for name, told in units.items() for member in (name, *told["shared_by"])}
        name = None if asked is None else next((each for each in homes if each.lower() == asked.lower()), None)
        if asked is not None and name is None:
            return {"unknown": asked, "services": sorted(homes)}
        states = {each: self._state_of(home) for each, home in homes.items()}
        told = units.values() if name is None else [units[homes[name]]]
        return {
            **self._info(),
            "ready": all(state in {"ready", "done"} for state in states.values()),
            "troubles": self._wrong(),
            "services": [with_states(each, states) | self._now(each["service"], rows) for each in told],
        }

    def _state_of(self, unit: str) -> str:
        states = {self._state(note) for note in self._notes if note.service == unit}
        order = (State.READY, State.DONE, State.FAILED)
        return next((str(state) for state in order if state in states), "starting" if states else "stopped")

    def _now(self, unit: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
        mine = [note for note in self._notes if note.service == unit]
        of_replica = {row["replica"]: row for row in rows if row["service"] == unit}
        return {
            "reason": TAKING,
            "wanted": self._heritage.app.wanted.get(unit, len(mine)),
            "ready": sum(row["state"] == State.READY for row in of_replica.values()),
            "urls": [],
            "replicas": [of_replica[note.index] | past(note.generation, note.failures, note.changes) for note in mine],
        }
