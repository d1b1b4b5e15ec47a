"""Where a program takes connections, as the daemon last told it: what `svcd.depends("Llm")` gives to code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcd_ipc.errors import ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence


class Urls:
    """The URLs of one command service; calling it gives that of a replica that is ready, each in its turn.

    Any thread may call it: the list is replaced as a whole, never changed.
    """

    def __init__(self, service: str, state: str = "starting", urls: Sequence[str] = ()) -> None:
        self.service = service
        self._state = state
        self._reason = ""
        self._urls = tuple(urls)
        self._turn = 0

    def __repr__(self) -> str:
        return f"<Urls {self.service} {self._state} [{', '.join(self._urls)}]>"

    def update(self, state: str, reason: str | None, urls: Sequence[str]) -> None:
        """Take the daemon's word."""
        self._state, self._reason, self._urls = state, reason or "", tuple(urls)

    def __call__(self) -> str:
        """Return the URL of a replica that is ready. Raises ServiceUnavailable when none is, or none has a URL."""
        urls = self._urls
        if urls:
            self._turn += 1  # two threads may get the same one: it is a matter of fairness, not of correctness
            return urls[self._turn % len(urls)]
        if self._state in {"ready", "done"}:
            raise ServiceUnavailable(
                f"{self.service} has no URL: it takes no connections that svcd knows of; a `port`, a `url`,"
                f" or {{port}} in its `command` says otherwise"
            )
        raise ServiceUnavailable(f"{self.service} is {self._state}" + (f": {self._reason}" if self._reason else ""))
