"""One run of the daemon under trio: reads the graph, starts the app, answers its operators, stops it in order."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from svcd import __version__
from svcd.control.door import Door
from svcd.control.interim import Interim
from svcd.control.server import Control, Ends
from svcd.control.story import outline
from svcd.host.condition import read_condition
from svcd.host.facts import Facts
from svcd.host.gpus import read_inventory
from svcd.host.keeper_link import KeeperLink
from svcd.host.log_files import EVENTS_SIZE, LogFile, LogFiles
from svcd.host.memory import own_memory, resident
from svcd.host.notify import notify
from svcd.host.program import part_environment
from svcd.host.pulses import state_of
from svcd.host.remains import GROUPS_LIMIT
from svcd.host.scheduling import read_threads
from svcd.host.sockets import open_to_users
from svcd.host.usage import UsageMeter
from svcd.runtime.adoption import retire
from svcd.runtime.app import App
from svcd.runtime.bus import Bus
from svcd.runtime.condition import ConditionWatch
from svcd.runtime.gpus import keep_read
from svcd.runtime.heritage import Heritage
from svcd.runtime.journal import Journal
from svcd.runtime.launch import DISCOVERY, Launcher, needs_groups
from svcd.runtime.ledger import Ledger
from svcd.runtime.liveness import LivenessWatch
from svcd.runtime.memory import MemoryWatch
from svcd.runtime.preparation import prepare
from svcd.runtime.processes import Processes
from svcd.runtime.settings import user_ids
from svcd.runtime.summary import summary
from svcd.runtime.voice import Voice
from svcd.values.errors import KeeperDiedError
from svcd.values.orders import Linger, News
from svcd_ipc.server import listen

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from svcd.config import Documents
    from svcd.host.limits import Descriptors
    from svcd.host.program import Program
    from svcd.host.sockets import RuntimeDirectory
    from svcd.host.stop_signals import StopSignals
    from svcd.runtime.voice import Reporter
    from svcd.values.specs import AppSpec

EXIT_OK, EXIT_FAILED = 0, 1
EXIT_LEFT = 75
"""The app goes on without this daemon: EX_TEMPFAIL of sysexits.h, so that a service manager starts the next one."""


class Means(NamedTuple):
    """What a run is given."""

    documents: Documents
    directory: RuntimeDirectory
    """Says whether there is an app that has outlived its daemon, and, afterwards, whether it goes on."""
    program: Program
    reporter: Reporter
    link: socket.socket
    """To the keeper."""
    signals: StopSignals
    descriptors: Descriptors
    """The limit that svcd was started with."""
    at_last: list[Callable[[], None]]
    """Takes what is to be done when nothing of the app is left."""
    began: float
    """When the command was given, by time.monotonic."""


def run(means: Means) -> int:
    """Run the app until it is stopped; return the exit code."""
    session = Session(means)
    with _one_error():
        trio.run(session.main)
    return session.code


class Session:
    """All of one run."""

    def __init__(self, means: Means) -> None:
        self.code = EXIT_OK
        self._means = means
        self._directory = means.directory
        self._heritage: Heritage | None = None
        self._places = places = means.directory.places
        self._bus = Bus()
        self._stop = trio.Event()
        self._why_stop = ""
        self._logs = LogFiles()
        own = self._logs.open(places.daemon_log), LogFile(places.events, size=EVENTS_SIZE, stamped=False)
        self._journal = Journal(*own, self._bus)
        self._voice = Voice(self._journal, means.reporter, os.environ)
        look = partial(read_condition, (places.logs, places.runtime), own)
        self._condition = ConditionWatch(look, self._journal, means.reporter.note)
        self._door = Door(means.documents.app_name, lambda: self.stop("svcd down"))

    async def main(self) -> None:
        """Live."""
        link = KeeperLink(self._means.link)
        processes = Processes(link.send)
        with trio.open_signal_receiver(*self._means.signals.numbers) as signals, ExitStack() as stack:
            for number in self._means.signals.early:
                self.stop(signal.Signals(number).name)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run)
                if self._directory.is_left:
                    self._heritage = await Heritage.receive(link.events)
                    interim = Interim(self._heritage, UsageMeter().look, self._condition.wrong)
                    if self._heritage.info:
                        self._door.open_early(interim.answer, Interim.requests)
                    nursery.start_soon(self._door.run, stack.enter_context(listen(self._places.control, mode=0o600)))
                nursery.start_soon(self._hear, link, processes)
                nursery.start_soon(self._obey, signals, nursery.cancel_scope)
                await self._prepare_and_live(processes)
                nursery.cancel_scope.cancel()

    def leave(self, spec: AppSpec) -> float:
        """End the daemon alone; return for how long the app goes on without one, 0 when it can't."""
        if spec.orphan_grace and not self._stop.is_set():
            self._directory.is_left = True
            self.stop(f"svcd down --keep; the app goes on for {spec.orphan_grace:g} s")
        return spec.orphan_grace if self._directory.is_left else 0.0

    def stop(self, why: str) -> None:
        """Stop in order; the first reason counts."""
        if not self._stop.is_set():
            self._why_stop = why
            self._stop.set()

    async def _prepare_and_live(self, processes: Processes) -> None:
        prepared: list[AppSpec] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._cancel_on_stop, nursery.cancel_scope)
            prepared.append(await self._prepare(processes))
            nursery.cancel_scope.cancel()
        if prepared:
            await self._live(prepared[0], processes)
        else:
            self._directory.is_left = False
            self._voice.stopped(f"before anything ran: {self._why_stop}")

    async def _cancel_on_stop(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _prepare(self, processes: Processes) -> AppSpec:
        for process_id in self._heritage.kept if self._heritage else ():
            if process_id.startswith(DISCOVERY):  # of a daemon that ended while it read the graph
                await retire(processes, process_id)
        means = self._means
        return await prepare(
            means.documents,
            program=means.program,
            places=self._places,
            processes=processes,
            descriptors=means.descriptors,
            tell=means.reporter.note,
        )

    async def _live(self, spec: AppSpec, processes: Processes) -> None:
        self._directory.is_left = False
        if spec.orphan_grace:
            processes.send(Linger(spec.orphan_grace, self._places.keeper, __version__))
        facts = self._facts(spec)
        ledger = Ledger(machine=facts.machine)
        app = self._app(spec, facts, ledger, processes)
        info = self._info(spec)
        self._voice.summary = partial(summary, app, info["url"])
        ends = Ends(lambda: self.stop("svcd down"), lambda: self.leave(spec))
        control = Control(
            *(info, app, self._bus, self._journal), look=UsageMeter().look, wrong=self._condition.wrong, ends=ends
        )
        has_users = any(user_ids(service.process) for service in spec.services.values())
        if has_users:
            open_to_users(self._places)
        with ExitStack() as stack:
            # Who is let in at the link is a matter of nonces.
            link = stack.enter_context(listen(self._places.link, mode=0o666 if has_users else 0o600))
            async with trio.open_nursery() as nursery:
                if self._heritage is None:
                    nursery.start_soon(self._door.run, stack.enter_context(listen(self._places.control, mode=0o600)))
                app.notes.write_told(info, {name: outline(app, unit) for name, unit in app.units.items()})
                self._voice.started(info)
                await nursery.start(app.run, link)
                self._door.open(control.answer)
                self._watch(nursery, app, facts, ledger)
                nursery.start_soon(self._condition.run)
                nursery.start_soon(self._voice.run)
                nursery.start_soon(self._announce, app, info)
                nursery.start_soon(self._give_up, app)
                await self._stop.wait()
                await self._end(app)
                nursery.cancel_scope.cancel()

    def _app(self, spec: AppSpec, facts: Facts, ledger: Ledger, processes: Processes) -> App:
        return App(
            spec,
            processes=processes,
            launcher=Launcher(spec, self._places, self._means.program, os.environ, facts),
            ledger=ledger,
            chance=random.random,
            tell=self._voice.change,
            scaled=self._voice.scaled,
            heritage=self._heritage,
        )

    def _watch(self, nursery: trio.Nursery, app: App, facts: Facts, ledger: Ledger) -> None:
        """Look after the replicas, and after what they take where the kernel does not."""
        services = app.spec.services.values()
        watch = LivenessWatch(app.replicas, app.whereabouts.pulse, state_of, read_threads)
        nursery.start_soon(watch.run)
        self._condition.starved = lambda: watch.starved
        if any(service.resources.gpu for service in services):
            read_gpus = partial(read_inventory, self._means.program.nvml, env=part_environment())
            nursery.start_soon(keep_read, ledger, read_gpus, self._voice.say)
        limited = [service.name for service in services if service.resources.memory]
        if limited and not facts.groups.memory:
            self._voice.say(f"memory of {', '.join(limited)} is watched, not enforced: {facts.groups.why_not}")
            nursery.start_soon(MemoryWatch(app.replicas, resident, own_memory).run)

    async def _end(self, app: App) -> None:
        """Stop the app, or leave it as it is."""
        if self._directory.is_left:
            self._voice.left(self._why_stop)
            self.code = EXIT_LEFT
            return
        self._voice.stopping(self._why_stop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_for_time)
            await app.stop()
            nursery.cancel_scope.cancel()
        self._voice.stopped(self._why_stop)

    def _facts(self, spec: AppSpec) -> Facts:
        with_groups = any(map(needs_groups, spec.services.values()))
        facts = Facts.read(spec.name, self._means.descriptors, with_groups=with_groups)
        self._means.at_last.append(partial(facts.groups.sweep, spec.name, GROUPS_LIMIT))
        return facts

    def _info(self, spec: AppSpec) -> dict[str, Any]:
        host = f"[{spec.http.host}]" if ":" in spec.http.host else spec.http.host
        entry = spec.services[spec.entry]
        return {
            "app": spec.name,
            "root": str(spec.root),
            "pid": os.getpid(),
            "svcd": __version__,
            "url": f"http://{host}:{spec.http.port}",
            "entry": spec.entry,
            "apis": [asdict(api) for api in entry.apis],
            "logs": self._places.logs,
        }

    async def _announce(self, app: App, info: dict[str, Any]) -> None:
        await app.outcome.ready.wait()
        self._bus.wake()
        self._voice.ready(info, time.monotonic() - self._means.began)

    async def _give_up(self, app: App) -> None:
        """An app that cannot become ready is not left half-started; one that was taken over is, as it serves."""
        await app.outcome.broken.wait()
        self._bus.wake()
        if app.was_taken_over:
            self._voice.goes_on(f"it cannot become ready as it is configured now, and goes on: {app.outcome.failure}")
            return
        self.code = EXIT_FAILED
        self.stop(f"it cannot become ready: {app.outcome.failure}")

    async def _hear(self, link: KeeperLink, processes: Processes) -> None:
        async for event in link.events:
            if isinstance(event, News):
                self._condition.hear(event)
                processes.dispatch(event)
        self._directory.is_left = False
        self._voice.stopped("the keeper has died; ending everything")
        raise KeeperDiedError(
            "the keeper has died, and the app with it: all it had started is being ended;"
            " `svcd up` starts anew, `dmesg` tells whether the kernel killed it"
        )

    async def _obey(self, signals: Any, scope: trio.CancelScope) -> None:
        async for number in signals:
            if self._stop.is_set() and number == signal.SIGINT:
                self._voice.warn("interrupted again: killing everything now")
                self.code = EXIT_FAILED
                scope.cancel()
            self.stop(signal.Signals(number).name)


async def _ask_for_time() -> None:
    """Have systemd wait for an orderly stop, however long calls take; it ends a daemon that no longer asks."""
    while True:
        notify(os.environ, EXTEND_TIMEOUT_USEC=30_000_000)
        await trio.sleep(10)


@contextmanager
def _one_error() -> Iterator[None]:
    """Raise the one error of a nursery as itself: these are for people."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
