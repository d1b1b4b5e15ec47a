"""A replica process: imports the user's modules, makes its services, serves them, and ends when told to.

Mostly it is one service; a group that shares a process has several, which call each other without a socket. The main
thread imports and then runs the event loop; `__init__` and `def` apis run on the service's thread, so that the loop
answers the daemon all the time. A failure before ready is reported with the user's own traceback.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.load import LoadError, load_class, user_traceback
from svcd.values.pulse import beside
from svcd.values.secrets import looks_secret, veil
from svcd.worker import records, where
from svcd.worker.bind import bind_dependencies, bind_urls, unborn
from svcd.worker.client import Client
from svcd.worker.control import Control
from svcd.worker.demand import report_demand
from svcd.worker.door import SOCKET_MODE, door
from svcd.worker.lobby import Lobby
from svcd.worker.members import Members
from svcd.worker.probes import Hooks
from svcd.worker.pulse import Pulse
from svcd_ipc.errors import CallError, ProtocolError
from svcd_ipc.memory import of_process
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from svcd.values.boot import ReplicaBoot, ServiceBoot
    from svcd.worker.proxy import Caller
    from svcd.worker.serve import LiveService
    from svcd_ipc.channel import Channel


class StartError(Exception):
    """A service cannot be served. `phase` is import, init or startup, with ` of NAME` where there are several."""

    def __init__(self, phase: str, error: str, traceback: str) -> None:
        super().__init__(error)
        self.phase = phase
        self.traceback = traceback

    @classmethod
    def of(cls, phase: str, error: BaseException) -> StartError:
        """Tell of what user code raised."""
        text = str(error)
        return cls(phase, f"{type(error).__name__}: {text}" if text else type(error).__name__, user_traceback(error))


def main(boot: ReplicaBoot) -> int:
    """Run a replica to its end and return the exit status."""
    # Ctrl-C reaches the whole foreground group, but the daemon decides who stops when. No SIG_IGN: what the service
    # starts would inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    replica = Replica(boot)
    where.install(replica.loops)
    records.begin()
    replica.load()
    records.adopt()
    status = trio.run(replica.run)
    if replica.has_busy_thread:
        # The interpreter would wait for nothing, but pull the modules from under a thread that still runs user code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


class Replica:
    """One process with its services."""

    def __init__(self, boot: ReplicaBoot) -> None:
        self._boot = boot
        self._classes: dict[str, type] = {}
        self._failure: StartError | None = None
        self._members: Members | None = None
        self._pulse: Pulse
        self._hooks = Hooks()
        self._is_started = False
        self._channels: set[Channel] = set()

    def __repr__(self) -> str:
        who = self._boot.identity
        return f"<Replica {who.service}/{who.replica} {self._members or self._failure or 'not started'}>"

    @property
    def has_busy_thread(self) -> bool:
        """Whether user code still runs on a thread."""
        return self._members is not None and self._members.is_busy

    def loops(self) -> list[AbstractEventLoop]:
        """The asyncio loops that code of the services runs on."""
        sides = [member.live.side for member in self._members or ()]
        return [side.loop for side in sides if side is not None]

    def load(self) -> None:
        """Import the user's modules; what goes wrong is reported once there is a control channel."""
        for told in self._boot.services:
            try:
                self._classes[told.name], _ = load_class(told.target)
            except LoadError as error:
                self._failure = StartError(self._phase("import", told), str(error), error.traceback)
                return

    def _phase(self, phase: str, told: ServiceBoot) -> str:
        """Name a phase of the start, and the service where there are several."""
        return phase if len(self._boot.services) == 1 else f"{phase} of {told.name}"

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        with trio.open_signal_receiver(signal.SIGTERM) as terms:
            return await self._run(terms)

    async def _run(self, terms: AsyncIterator[int]) -> int:
        status = 1
        async with trio.open_nursery() as nursery:
            client = Client(nursery, self._identity)
            control = Control(
                self._boot.identity,
                "replica",
                outlives=self._boot.outlives,
                routes=client.update,
                health=self._health,
                drain=self._drain,
                drop=self._drop,
            )
            control.restate = lambda: self._hooks.restate(control.probed)
            try:
                await control.connect(self._boot.link, nursery)
            except (OSError, ProtocolError, CallError) as error:
                _say(f"the daemon does not let this replica in at {self._boot.link}: {error}")
            else:
                nursery.start_soon(_end_with_daemon, control, nursery.cancel_scope)
                self._pulse = Pulse(beside(self._boot.services[0].socket))
                nursery.start_soon(self._pulse.beat, self._boot.beat, self._living)
                nursery.start_soon(report_demand, client, control)
                status = await self._live(terms, control, client, nursery)
            if self._members is not None:
                await self._members.stop()
            nursery.cancel_scope.cancel()
        return status

    @property
    def _identity(self) -> dict[str, Any]:
        return {"service": self._boot.identity.service, "replica": self._boot.identity.replica}

    async def _live(self, terms: AsyncIterator[int], control: Control, client: Client, nursery: trio.Nursery) -> int:
        """Start, serve until SIGTERM, run the shutdown hooks."""
        failure: StartError | None = None
        async with trio.open_nursery() as serving:
            serving.start_soon(_cancel_at, terms, serving.cancel_scope)
            try:
                members = await self._start(control, client, nursery)
                for told, member in zip(self._boot.services, members, strict=True):
                    await serving.start(self._serve, told, member.live)
                await self._hooks.until_ready(control.probed)
                await control.ready()
                await self._hooks.run(control.probed)
                await trio.sleep(inf)  # until SIGTERM
            except StartError as error:
                failure = error
            serving.cancel_scope.cancel()
        if failure is not None:
            await _report(control, failure, self._boot.hidden)
        status = await self._shut_down()  # of those that were started
        return 1 if failure is not None else status

    async def _start(self, control: Control, client: Client, nursery: trio.Nursery) -> Members:
        """Make the services. Raises StartError."""
        if self._failure is not None:
            raise self._failure
        members = self._members = Members(nursery, time.monotonic)
        for told in self._boot.services:
            with _failing(self._phase("import", told)):
                self._attach(told, members, client)
        try:
            async with trio.open_nursery() as waiting:
                waiting.start_soon(control.imported)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()  # by now the word is out; meanwhile:
                for told, member in zip(self._boot.services, members, strict=True):
                    with _failing(self._phase("import", told)):
                        member.live.warm()
        except Exception as error:
            first = _innermost(error)
            raise first if isinstance(first, StartError) else StartError.of("import", first) from error
        for told, member in zip(self._boot.services, members, strict=True):
            with _failing(self._phase("init", told)):
                await member.live.threads.run(member.live.instance.__init__)
            with _failing(self._phase("startup", told)):
                await members.open(member)
            records.adopt()
        self._is_started = True
        return members

    def _attach(self, told: ServiceBoot, members: Members, client: Client) -> None:
        """Add a service with an instance whose `__init__` has yet to run."""

        def caller_of(callee: Mapping[str, Any]) -> Caller:
            here = members.get(callee["service"])
            if here is not None:
                return here.caller
            limits = {"default_timeout": callee["default_timeout"], "max_queue": callee["max_queue"]}
            return client.route(callee["service"], **limits)

        member = members.add(
            told.name,
            timeout=told.timeout,
            max_concurrency=told.max_concurrency,
            max_queue=told.max_queue,
            threads=told.threads,
            async_backend=told.async_backend,
        )
        instance = unborn(self._classes[told.name])
        bind_dependencies(instance, told.dependencies, caller_of, members.portal, member.live.side)
        bind_urls(instance, client.urls)
        member.live.attach(instance)
        member.live.pulse, member.live.timeout = self._pulse, told.timeout
        self._hooks.add(member.live, told.readiness, told.liveness)

    async def _serve(self, told: ServiceBoot, service: LiveService, *, task_status: trio.TaskStatus[Any]) -> None:
        lobby = Lobby(service)
        await serve(
            listen(told.socket, mode=SOCKET_MODE),
            lobby.handle,
            identity={**self._identity, "service": told.name},
            welcome=door(told.secret),
            admit=lobby.admit,
            release=lobby.release,
            direct=lobby,
            load=service.load,
            on_channel=self._met,
            memory=of_process(),
            task_status=task_status,
        )

    def _living(self) -> list[LiveService]:
        return [member.live for member in self._members or ()]

    def _met(self, channel: Channel) -> None:
        self._channels = {known for known in self._channels if not known.closed.is_set()} | {channel}

    async def _shut_down(self) -> int:
        if self._members is None:
            return 0
        errors = await self._members.close()
        for error in errors:  # they belong to the user, who finds them in the log
            _say(f"on_shutdown failed:\n{user_traceback(error)}")
        return 1 if errors else 0

    def _health(self) -> dict[str, Any]:
        if not self._is_started or self._members is None:
            return {"in_flight": 0, "queued": 0, "threads_stuck": 0}
        return self._members.health()

    def _drop(self) -> int:
        """Cut all connections, as a network would; callers connect anew."""
        cut = [channel for channel in self._channels if not channel.closed.is_set()]
        for channel in cut:
            channel.close()
        return len(cut)

    async def _drain(self) -> None:
        for channel in self._channels:
            channel.send_drain()
        if self._members is not None:
            await self._members.drain()


async def _end_with_daemon(control: Control, scope: trio.CancelScope) -> None:
    await control.until_lost()
    _say("the daemon is gone; so is this replica")
    scope.cancel()


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _report(control: Control, failure: StartError, hidden: Iterable[str]) -> None:
    what = failure.phase if " of " in failure.phase else f"{failure.phase} of the service"
    secrets = {value for name, value in os.environ.items() if name in hidden or looks_secret(name, value)}
    sys.stderr.write(veil(f"{failure.traceback}svcd: {what} failed: {failure}\n", secrets))
    with suppress(CallError):
        await control.failed(failure.phase, str(failure), failure.traceback)


@contextmanager
def _failing(phase: str) -> Iterator[None]:
    try:
        yield
    except trio.Cancelled:
        raise
    except BaseException as error:
        if isinstance(error, BaseExceptionGroup) and not isinstance(error, Exception):
            raise  # it holds what is not the service's own
        raise StartError.of(phase, error) from error  # KeyboardInterrupt and the like included


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _say(text: str) -> None:
    sys.stderr.write(f"svcd: {text}\n")
