"""What a replica asks of the world around it. The app answers; tests answer by a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from svcd.runtime.replica import Replica
    from svcd.values.events import Change


class Surroundings(Protocol):
    """None of it blocks."""

    def request(self, replica: Replica) -> None:
        """Ask for resources; PLACED is posted, now or later."""

    def release(self, replica: Replica) -> None:
        """Give resources back; giving back nothing is fine."""

    def spawn(self, replica: Replica) -> None:
        """Order a process for the replica's present generation; SPAWNED is posted once it was executed."""

    def terminate(self, replica: Replica) -> None:
        """SIGTERM to the main process."""

    def ask_where(self, replica: Replica) -> None:
        """Have the worker log what each of its threads does just now."""

    def kill(self, replica: Replica) -> None:
        """SIGKILL to the whole tree."""

    def drain(self, replica: Replica) -> None:
        """Withdraw it from callers and ask it to finish; DRAINED is posted when it has."""

    def changed(self, replica: Replica, change: Change) -> None:
        """Hear of a change of state."""
