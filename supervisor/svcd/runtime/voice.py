"""What one run of the daemon has to say: to the journal, to people at a terminal, and to the service manager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import trio

from svcd.host.notify import notify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.runtime.journal import Journal
    from svcd.runtime.service import Service
    from svcd.values.events import Change

PAUSE = 0.1
"""Seconds between two lines of the app at the least: each takes a look at every replica."""


class Reporter(Protocol):
    """Hears how the start goes and what happens; writes it for people."""

    def started(self, info: dict[str, Any]) -> None:
        """The configuration is good and the sockets are bound; replicas are being started."""

    def change(self, change: Change) -> None:
        """A replica changed."""

    def ready(self, info: dict[str, Any], seconds: float) -> None:
        """The app is ready, so many seconds after the command was given."""

    def stopping(self, reason: str) -> None:
        """Stopping has begun."""

    def note(self, text: str) -> None:
        """Something takes its time."""


class Voice:
    """Says each thing to all who should hear of it."""

    def __init__(self, journal: Journal, reporter: Reporter, environ: Mapping[str, str]) -> None:
        """environ: says where the service manager listens, if there is one."""
        self._journal = journal
        self._reporter = reporter
        self._environ = environ
        self.summary: Callable[[], str] = str
        """The app in one line, once there is one."""
        self._is_ending = False
        self._news = trio.Event()

    def __repr__(self) -> str:
        """Whether its last words have begun."""
        return f"<Voice {'ending' if self._is_ending else 'speaking'}>"

    def say(self, text: str) -> None:
        """Write a sentence to the daemon's log alone."""
        self._journal.say(text)

    def warn(self, text: str) -> None:
        """Tell people as well."""
        self._journal.say(text)
        self._reporter.note(text)

    async def run(self) -> None:
        """Tell the service manager how the app is, once for all that changes at a time; until cancelled."""
        while True:
            await self._news.wait()
            self._news = trio.Event()
            if not self._is_ending:
                notify(self._environ, STATUS=self.summary())
            await trio.sleep(PAUSE)

    def change(self, change: Change) -> None:
        """Tell of a step of a replica."""
        self._journal.change(change)
        self._reporter.change(change)
        self._news.set()

    def scaled(self, service: Service, before: int, reason: str) -> None:
        """Tell that a service follows its load."""
        self._journal.note("scale", str(service.wanted), before=str(before), service=service.spec.name, reason=reason)

    def started(self, info: dict[str, Any]) -> None:
        """Tell that replicas are being started."""
        self._journal.begin(f"{info['app']} in {info['root']}, {info['url']}, svcd {info['svcd']}")
        self._reporter.started(info)

    def ready(self, info: dict[str, Any], seconds: float) -> None:
        """Tell that the app is ready."""
        self._journal.note("daemon", "ready", reason=f"after {seconds:.2f} s")
        self._reporter.ready(info, seconds)
        notify(self._environ, READY=1, STATUS=self.summary())

    def goes_on(self, text: str) -> None:
        """Warn of what is amiss with an app that serves all the same."""
        self.warn(text)
        notify(self._environ, READY=1, STATUS=self.summary())

    def left(self, why: str) -> None:
        """Tell that the daemon goes, and the app goes on."""
        self._is_ending = True
        self._journal.note("daemon", "left", reason=why)
        self._reporter.note(why)

    def stopping(self, why: str) -> None:
        """Tell that everything is being stopped."""
        self._is_ending = True
        self._journal.note("daemon", "stopping", reason=why)
        self._reporter.stopping(why)
        notify(self._environ, STOPPING=1, STATUS=f"stopping: {why}")

    def stopped(self, why: str) -> None:
        """Tell that nothing is left."""
        self._journal.note("daemon", "stopped", reason=why)
        notify(self._environ, STATUS=f"stopped: {why}")
