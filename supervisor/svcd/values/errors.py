"""Failures of the daemon whose message is written for the user."""

from __future__ import annotations


class DaemonError(Exception):
    """The daemon cannot start, or cannot go on."""


class ListenError(DaemonError):
    """The HTTP address cannot be bound."""


class SettingsError(DaemonError):
    """A service asks for something that this machine, or whoever runs svcd, can't give its processes."""

    def __init__(self, message: str, found: tuple[tuple[tuple[str, ...], str], ...] = ()) -> None:
        super().__init__(message)
        self.found = found
        """Each key at fault, as a path from the root of the configuration, and what is wrong with its value."""


class DiscoveryError(DaemonError):
    """The dependency graph cannot be read."""

    def __init__(self, message: str, traceback: str | None = None) -> None:
        super().__init__(message)
        self.traceback = traceback
        """The user's own frames, or what the child printed before it died."""

    def __str__(self) -> str:
        """Message, then traceback."""
        return "\n".join(part.rstrip() for part in (self.args[0], self.traceback) if part)


class TakeOverError(DaemonError):
    """A keeper that outlived its daemon can't be taken over; it was left as it is."""


class KeeperDiedError(DaemonError):
    """The keeper ended before it was told to."""
