"""What happened to a replica, as the daemon tells it to its log, to `svcd up` and to whoever subscribes."""

from __future__ import annotations

from dataclasses import dataclass


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
    pid: int | None = None
    after: float = 0.0
    """Seconds spent in the state before."""
    last_lines: tuple[str, ...] = ()
    """The last log lines of a process that ended unasked, oldest first."""

    @property
    def name(self) -> str:
        """`Classifier/0`."""
        return f"{self.service}/{self.replica}"

    def sentence(self) -> str:
        """Return one line for people: `Classifier/0: starting -> ready after 0.41 s`."""
        text = f"{self.name}: {self.before} -> {self.state} after {self.after:.2f} s"
        return f"{text} ({self.reason})" if self.reason else text
