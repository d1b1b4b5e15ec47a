"""What happened, as the daemon tells it to its log, to the file of events, to `svcd up` and to whoever subscribes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One step of one replica from a state to another (or the same with a new reason)."""

    time: float
    """Seconds since the epoch."""
    service: str
    replica: int
    generation: int
    before: str
    state: str
    reason: str = ""
    version: str = ""
    pid: int | None = None
    after: float = 0.0
    """Seconds spent in the state before."""
    last_lines: tuple[str, ...] = ()
    """The last log lines of a process that ended unasked, oldest first."""
    attempts: tuple[int, int] = (0, 0)
    """On entering `backoff`: attempts that have failed in a row, and how many make the replica `failed`."""

    @property
    def name(self) -> str:
        """`Classifier/0`."""
        return f"{self.service}/{self.replica}"

    def sentence(self) -> str:
        """Return one line for people: `Classifier/0: starting -> ready after 0.41 s`."""
        text = f"{self.name}: {self.before} -> {self.state} after {self.after:.2f} s"
        return f"{text} ({self.reason})" if self.reason else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that happened to no replica in particular: an order of a user, the daemon itself, the machine."""

    time: float
    """Seconds since the epoch."""
    kind: str
    """`daemon`, `scale`, `restart`, `chaos` or `machine`."""
    state: str = ""
    """What it came to: `started`, a number of replicas, `trouble`, `over`."""
    before: str = ""
    service: str = ""
    replica: int | None = None
    reason: str = ""

    def sentence(self) -> str:
        """Return one line for people: `scale Words: 1 -> 3 (svcd scale)`; `ready after 1 s` of the daemon."""
        if self.kind == "daemon":
            colon = "" if self.state in {"started", "ready"} else ":"
            return f"{self.state}{colon} {self.reason}"
        whom = self.service if self.replica is None else f"{self.service}/{self.replica}"
        steps = f"{self.before} -> {self.state}" if self.before else self.state
        text = " ".join(filter(None, (self.kind, f"{whom}:" if whom and steps else whom, steps)))
        return f"{text} ({self.reason})" if self.reason else text


def record(event: Change | Note) -> dict[str, Any]:
    """Return the event as the plain values of one line of the file of events; all events have the same keys.

    `time` is in seconds of the epoch here; whoever writes gives it its form.
    """
    common = {"time": event.time, "kind": "replica", "service": event.service, "replica": event.replica}
    if isinstance(event, Note):
        common |= {"kind": event.kind, "generation": None, "from": event.before, "to": event.state}
        return common | {"reason": event.reason, "version": "", "pid": None, "after": None, "last_lines": []}
    return common | {
        "generation": event.generation,
        "from": event.before,
        "to": event.state,
        "reason": event.reason,
        "version": event.version,
        "pid": event.pid,
        "after": round(event.after, 3),
        "last_lines": list(event.last_lines),
    }
