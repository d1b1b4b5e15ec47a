"""What the CLI may ask of a running daemon: each method of `Control` is one request."""

from __future__ import annotations

import os
import time
from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from svcd.control.restart import WHY, restart
from svcd.control.status import table
from svcd.control.story import story
from svcd.control.strikes import Fault, strike
from svcd.policy.environment import secret_names
from svcd.policy.lifecycle import State
from svcd.values.specs import MOST_REPLICAS
from svcd_ipc.errors import InvalidArgument, ServiceUnavailable, UnknownApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from svcd.control.status import Look
    from svcd.runtime.app import App
    from svcd.runtime.bus import Bus
    from svcd.runtime.journal import Journal
    from svcd.runtime.replica import Replica
    from svcd_ipc.channel import IncomingCall

REQUESTS = frozenset(
    (
        *("info", "ps", "troubles", "status", "start", "where", "routes", "events"),
        *("scale", "scaled", "restart", "strike", "environment", "down", "leave"),
    )
)


class Ends(NamedTuple):
    """The ways in which a daemon is asked to end."""

    stop: Callable[[], None]
    """Stops the app, then the daemon."""
    leave: Callable[[], float]
    """Stops the daemon alone; returns for how many seconds the app goes on, 0 when it does not."""


class Control:
    """The daemon as its operators see it."""

    def __init__(
        self,
        info: dict[str, Any],
        app: App,
        bus: Bus,
        journal: Journal,
        *,
        look: Look,
        wrong: Callable[[], list[dict[str, Any]]],
        ends: Ends,
    ) -> None:
        """Take what the requests ask for. wrong: what ails the machine, as `ConditionWatch.wrong`."""
        self._info = info
        self._app = app
        self._bus = bus
        self._journal = journal
        self._restarting = trio.Lock()
        """Restarts are done one after the other."""
        self._look = look
        self._ends = ends
        self._wrong = wrong

    async def answer(self, call: IncomingCall) -> Any:
        """Answer one request."""
        if call.api not in REQUESTS:
            raise UnknownApi(f"the daemon has no request {call.api!r}; it is of another version than this svcd")
        return await getattr(self, call.api)(**call.args)

    async def info(self) -> dict[str, Any]:
        """What this daemon is: app, pid, version, url, log folder, entry and its apis."""
        return self._info

    async def ps(self) -> list[dict[str, Any]]:
        """The rows of `svcd ps`."""
        return await table(self._app, self._look)

    async def troubles(self) -> list[dict[str, Any]]:
        """What ails the machine or the daemon: `since` and `text` of each."""
        return self._wrong()

    async def status(self, service: str | None = None) -> dict[str, Any]:
        """The story of a service, or of all; `svcd status` has the form."""
        name = None if service is None else self._name(service)
        if service is not None and name is None:
            return self._unknown(service)
        rows = await table(self._app, self._look)
        units = self._app.units.values() if name is None else [self._app.services[name]]
        stories = [story(self._app, unit, rows) for unit in units]
        told = {"ready": self._app.outcome.ready.is_set(), "troubles": self._wrong()}
        return {**self._info, **told, "services": stories}

    async def start(self) -> AsyncIterator[dict[str, Any]]:
        """A stream of the start: `{"change": {...}}` for each change, then how it ended.

        That is `{"ready": bool, "reason": str, "goes_on": bool}`: what is not ready is stopped, or goes on as it is.
        """
        outcome = self._app.outcome

        async def news() -> AsyncIterator[dict[str, Any]]:
            until = lambda: outcome.ready.is_set() or outcome.broken.is_set()  # noqa: E731 - one condition, used once
            async with aclosing(self._bus.listen(past=True, until=until)) as changes:
                async for change in changes:
                    yield {"change": asdict(change)}
            is_ready = outcome.ready.is_set()
            yield {"ready": is_ready, "reason": outcome.failure, "goes_on": is_ready or self._app.was_taken_over}

        return news()

    async def where(self, service: str) -> dict[str, Any]:
        """Address of a ready replica of a service, and its apis; waits while it starts. Raises ServiceUnavailable."""
        name = self._name(service)
        if name is None:
            return self._unknown(service)
        found, spec = self._app.services[name], self._app.spec.services[name]
        if spec.command:
            return {"service": name, "socket": "", "secret": "", "apis": [], "timeout": 0.0, "is_command": True}
        while True:
            news = self._bus.news
            for replica in found.replicas:
                if replica.state is State.READY:
                    apis = [asdict(api) for api in spec.apis]
                    timeout = spec.traffic.timeout
                    path, secret = self._app.whereabouts.of(replica)[name]
                    return {"service": name, "socket": path, "secret": secret, "apis": apis, "timeout": timeout}
            if found.state != "starting":
                raise ServiceUnavailable(f"{name} is {found.state}" + (f": {found.reason}" if found.reason else ""))
            await news.wait()

    async def routes(self, service: str) -> AsyncIterator[dict[str, Any]]:
        """A stream of the way to a service, as its callers are told it: now, and after each change."""

        async def news() -> AsyncIterator[dict[str, Any]]:
            told: dict[str, Any] = {}
            while True:
                changed = self._bus.news
                route = self._app.whereabouts.route_to(service)
                if route != told:
                    told = route
                    yield {service: route}
                await changed.wait()

        return news()

    async def events(self, *, past: bool = False) -> AsyncIterator[dict[str, Any]]:
        """A stream of changes, each with when it was told: `at`, by CLOCK_MONOTONIC."""

        async def changes() -> AsyncIterator[dict[str, Any]]:
            async with aclosing(self._bus.listen(past=past)) as news:
                async for change in news:
                    yield asdict(change) | {"at": time.monotonic()}

        return changes()

    async def scale(self, service: str, replicas: int) -> dict[str, Any]:
        """Change how many replicas of a service there are; answer `{service, before, after, shared_by}`.

        `shared_by` are all services that its process has, and that are so scaled with it.
        """
        name = self._name(service)
        if name is None:
            return self._unknown(service)
        if not 1 <= replicas <= MOST_REPLICAS:
            raise InvalidArgument(f"replicas: expected a whole number from 1 to {MOST_REPLICAS}; found {replicas}")
        command = self._app.spec.services[name].command
        if command and command.why_alone and replicas > 1:
            raise InvalidArgument(f"{name} {command.why_alone}")
        if self._app.is_stopping:
            raise ServiceUnavailable("the app is stopping, and starts nothing more; `svcd up` starts it anew")
        before = self._app.scale(name, replicas)
        self._journal.note("scale", str(replicas), before=str(before), service=name, reason="svcd scale")
        members = [each.name for each in self._app.services[name].spec.members]
        return {"service": name, "before": before, "after": replicas, "shared_by": members}

    async def restart(self, service: str, replica: int | None = None) -> Any:
        """A stream of the restart of a service's replicas, or of one; see `control.restart`."""
        name = self._name(service)
        if name is None:
            return self._unknown(service)
        found = [each for each in self._app.services[name].staying if replica in {None, each.index}]
        if not found and replica is None:
            raise ServiceUnavailable(f"every replica of {name} is on its way out, as the app is stopping")
        if not found:
            return {"unknown": f"{name}/{replica}", "replicas": [r.name for r in self._app.services[name].staying]}

        async def news() -> AsyncIterator[dict[str, Any]]:
            async with self._restarting:
                if any(each.state is not State.STOPPED for each in found):  # it may have waited for long
                    self._journal.note("restart", service=name, replica=replica, reason=WHY)
                async with aclosing(restart(found, self._bus)) as steps:
                    async for each in steps:
                        yield each

        return news()

    async def strike(self, service: str, replica: int, fault: str, seconds: float) -> Any:
        """A stream of one fault that is done to a replica, and lasts until this ends; see `control.strikes`."""
        name = self._name(service)
        if name is None:
            return self._unknown(service)
        if fault not in set(Fault):
            raise InvalidArgument(f"the daemon knows no fault {fault!r}, but {', '.join(Fault)}")
        found = next((each for each in self._app.services[name].replicas if each.index == replica), None)

        async def news() -> AsyncIterator[dict[str, Any]]:
            if found is None:
                yield {"missed": f"there is no {name}/{replica}"}
                return
            self._journal.note("chaos", fault, service=found.spec.name, replica=replica, reason="svcd chaos")
            async with aclosing(strike(found, Fault(fault), seconds, self._app.signal)) as steps:
                async for each in steps:
                    yield each

        return news()

    async def scaled(self) -> dict[str, int]:
        """The services whose number of replicas was changed while running, and that number."""
        services = self._app.services
        return {name: s.wanted for name, s in services.items() if s.is_fixed}

    async def environment(self, service: str, replica: int, *, secrets: bool, reported: bool = False) -> dict[str, Any]:
        """What a replica gets: `{service, replica, variables: [[name, value], ...]}`, as bytes.

        The value of a secret is None unless `secrets` are asked for. With `reported` it is what the process itself says
        that it has, which its code may have changed.
        """
        name = self._name(service)
        if name is None:
            return self._unknown(service)
        found = next((each for each in self._app.services[name].replicas if each.index == replica), None)
        if found is None:
            return {
                "unknown": f"{name}/{replica}",
                "replicas": [each.name for each in self._app.services[name].replicas],
            }
        variables = await _reported(found) if reported else self._app.environment_of(found)
        hidden = set[str]() if secrets else secret_names(variables, found.spec)
        shown = [
            [os.fsencode(key), None if key in hidden else os.fsencode(value)]
            for key, value in sorted(variables.items())
        ]
        return {"service": name, "replica": found.process_id, "variables": shown}

    def _name(self, service: str) -> str | None:
        """The name of a service as it is spelled, whatever its case."""
        return {name.lower(): name for name in self._app.services}.get(service.lower())

    def _unknown(self, service: str) -> dict[str, Any]:
        return {"unknown": service, "services": sorted(self._app.services)}

    async def down(self) -> None:
        """Stop the app and the daemon; the channel ends when it has."""
        self._ends.stop()

    async def leave(self) -> float:
        """Stop the daemon alone; answer for how many seconds the app goes on, 0 when it is not configured to."""
        return self._ends.leave()


async def _reported(replica: Replica) -> dict[str, str]:
    if replica.channel is None:
        raise ServiceUnavailable(f"{replica.name} has no process to ask: it is {replica.state}")
    pairs = await replica.channel.call("environment", {})
    return {os.fsdecode(name): os.fsdecode(value) for name, value in pairs}
