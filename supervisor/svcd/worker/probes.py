"""The hooks by which a service says itself how it is: `__is_ready__` and `__is_alive__`.

Each is asked again and again, `async def` ones where the service's `async def` code runs, `def` ones on a thread of
their own: an api that takes long must not make its service look dead. The daemon is told of changes only.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from svcd.worker.thread import ServiceThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.values.specs import Probe
    from svcd.worker.serve import LiveService

    Tell = Callable[[str, str, str], Awaitable[None]]
    """Takes service, hook, and what is wrong: "" for nothing."""

READY, ALIVE = "__is_ready__", "__is_alive__"
MOST_UNHEARD = 30
"""Answers in a row that may be missed for want of a processor before they count as failures."""


def seconds_waited() -> float:
    """Return how long the main thread of this process has waited for a processor in its life; 0.0 where unknown."""
    try:
        return int(Path("/proc/self/schedstat").read_bytes().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):  # a kernel without CONFIG_SCHED_INFO
        return 0.0


class Hook:
    """One hook of one service.

    Args:
        service: Whose hook it is; it has an instance.
        name: READY or ALIVE.
        probe: How often it is asked, and what counts as failing.
        waited: Seconds for which this process has waited for a processor.
    """

    def __init__(
        self, service: LiveService, name: str, probe: Probe, *, waited: Callable[[], float] = seconds_waited
    ) -> None:
        self.name = name
        self.trouble = ""
        """Why it counts as failing; "" while it does not."""
        self._service = service
        self._probe = probe
        self._waited = waited
        self._failures = 0
        self._unheard = 0
        """Answers in a row that it had no processor for."""
        self._threads: ServiceThreads | None = None

    def __repr__(self) -> str:
        return f"<Hook {self._service.name}.{self.name} [{self.trouble or 'fine'}]>"

    async def until_good(self, tell: Tell) -> None:
        """Ask until it says yes."""
        while (said := await self._ask()) != "":
            await self._note(said or self.trouble, tell)
            await trio.sleep(self._probe.period)
        await self._note("", tell)

    async def run(self, tell: Tell) -> None:
        """Ask until cancelled."""
        while True:
            await trio.sleep(self._probe.period)
            said = await self._ask()
            if said is None:
                continue
            self._failures = self._failures + 1 if said else 0
            if not said or self._failures >= self._probe.threshold:
                await self._note(said, tell)

    async def restate(self, tell: Tell) -> None:
        """Say again how it is, to a daemon that is new."""
        await tell(self._service.name, self.name, self.trouble)

    async def _note(self, said: str, tell: Tell) -> None:
        if said != self.trouble:
            self.trouble = said
            await tell(self._service.name, self.name, said)

    async def _ask(self) -> str | None:
        """Return what is wrong, "" when nothing is; None when it did not have the processor to say so in time."""
        waited = self._waited()
        with trio.move_on_after(self._probe.timeout):
            try:
                answer = await self._answer()
            except Exception as error:  # noqa: BLE001  (whatever the user's code raises is its answer)
                return f"{self.name} raised {type(error).__name__}: {error}"
            if answer is None:
                return f"{self.name} returned None; it is to return True or False"
            self._unheard = 0
            return "" if answer else f"{self.name} returned {answer!r}"
        if self._waited() - waited > self._probe.timeout / 2 and self._unheard < MOST_UNHEARD:
            self._unheard += 1
            return None
        return f"{self.name} did not return within {self._probe.timeout:g} s"

    async def _answer(self) -> Any:
        hook = getattr(self._service.instance, self.name)
        if inspect.iscoroutinefunction(hook):
            return await (hook() if self._service.side is None else self._service.side.run(hook))
        if self._threads is None:
            self._threads = ServiceThreads(f"{self._service.name}-{self.name}", self._service.threads.portal)
            self._threads.start()
        return await self._threads.run(hook)


class Hooks:
    """All hooks of this process's services."""

    def __init__(self) -> None:
        self._all: list[Hook] = []

    def __repr__(self) -> str:
        return f"<Hooks {self._all}>"

    def add(self, service: LiveService, readiness: Probe, liveness: Probe) -> None:
        """Ask the hooks that a service's class has."""
        for name, probe in ((READY, readiness), (ALIVE, liveness)):
            if hasattr(type(service.instance), name):
                self._all.append(Hook(service, name, probe))

    async def until_ready(self, tell: Tell) -> None:
        """Return once every service says that it is ready."""
        async with trio.open_nursery() as nursery:
            for hook in self._all:
                if hook.name == READY:
                    nursery.start_soon(hook.until_good, tell)

    async def run(self, tell: Tell) -> None:
        """Ask until cancelled."""
        async with trio.open_nursery() as nursery:
            for hook in self._all:
                nursery.start_soon(hook.run, tell)

    async def restate(self, tell: Tell) -> None:
        """Say again how all are."""
        for hook in self._all:
            await hook.restate(tell)
