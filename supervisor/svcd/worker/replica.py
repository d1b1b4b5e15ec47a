"""A replica process: imports the user's module, makes the service, serves it, and ends when told to.

The main thread imports and then runs the event loop; `__init__` and `def` apis run on the service's thread, so that the
loop answers the daemon all the time. A failure before ready is reported with the user's own traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import contextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.load import LoadError, load_class, user_traceback
from svcd.worker.bind import bind_routes, unborn
from svcd.worker.client import Client
from svcd.worker.control import Control
from svcd.worker.door import SOCKET_MODE, door
from svcd.worker.serve import LiveService
from svcd.worker.thread import Portal, ServiceThreads
from svcd_ipc.errors import CallError, ProtocolError
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from svcd.values.boot import ReplicaBoot
    from svcd.worker.aio import AsyncioSide
    from svcd_ipc.channel import Channel


class StartError(Exception):
    """The service cannot be served. `phase` is import, init or startup."""

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
    replica.load()
    status = trio.run(replica.run)
    if replica.has_busy_thread:
        # The interpreter would wait for nothing, but pull the modules from under a thread that still runs user code.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    return status


class Replica:
    """One service in one process."""

    def __init__(self, boot: ReplicaBoot) -> None:
        self._boot = boot
        self._cls: type | None = None
        self._failure: StartError | None = None
        self._threads: ServiceThreads | None = None
        self._service: LiveService | None = None
        self._side: AsyncioSide | None = None
        self._is_started = False
        self._channels: set[Channel] = set()

    def __repr__(self) -> str:
        who = self._boot.identity
        return f"<Replica {who.service}/{who.replica} {self._service or self._failure or 'not started'}>"

    @property
    def has_busy_thread(self) -> bool:
        """Whether user code still runs on a thread."""
        is_asyncio_alive = self._side is not None and self._side.is_alive
        return is_asyncio_alive or (self._threads is not None and self._threads.is_busy)

    def load(self) -> None:
        """Import the user's module; what goes wrong is reported once there is a control channel."""
        try:
            self._cls, _ = load_class(self._boot.target)
        except LoadError as error:
            self._failure = StartError("import", str(error), error.traceback)

    async def run(self) -> int:
        """Serve until told to stop. Returns the exit status."""
        with trio.open_signal_receiver(signal.SIGTERM) as terms:
            return await self._run(terms)

    async def _run(self, terms: AsyncIterator[int]) -> int:
        status = 1
        async with trio.open_nursery() as nursery:
            client = Client(nursery, self._identity)
            control = Control(
                self._boot.identity, "replica", routes=client.update, health=self._health, drain=self._drain
            )
            try:
                await control.connect(self._boot.link, nursery)
            except (OSError, ProtocolError, CallError) as error:
                _say(f"the daemon does not let this replica in at {self._boot.link}: {error}")
            else:
                nursery.start_soon(_end_with_daemon, control, nursery.cancel_scope)
                status = await self._live(terms, control, client, nursery)
            if self._side is not None:
                await self._side.stop()
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
                service = await self._start(control, client, nursery)
                await serving.start(self._serve, service)
                await control.ready()
                await trio.sleep(inf)  # until SIGTERM
            except StartError as error:
                failure = error
            serving.cancel_scope.cancel()
        if failure is not None:
            await _report(control, failure)
            return 1
        return await self._shut_down()

    async def _start(self, control: Control, client: Client, nursery: trio.Nursery) -> LiveService:
        """Make the service. Raises StartError."""
        if self._cls is None:
            raise self._failure or AssertionError("load() comes first")
        portal = Portal(nursery)
        self._threads = ServiceThreads(self._boot.identity.service, portal, self._boot.threads)
        self._threads.start()
        if self._boot.async_backend == "asyncio":
            from svcd.worker.aio import AsyncioSide  # noqa: PLC0415  (where asyncio is wanted)

            self._side = AsyncioSide(self._boot.identity.service, portal)
            self._side.start()
        service = LiveService(
            self._boot.identity.service, self._threads, max_concurrency=self._boot.max_concurrency, side=self._side
        )
        try:
            instance = unborn(self._cls)
            bind_routes(instance, self._boot.dependencies, client, portal, self._side)
            service.attach(instance)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(control.imported)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()  # by now the word is out; meanwhile:
                service.warm()
        except Exception as error:
            raise StartError.of("import", _innermost(error)) from error
        with _failing("init"):
            await self._threads.run(instance.__init__)
        with _failing("startup"):
            await service.run_hooks("startup")
        self._service, self._is_started = service, True
        return service

    async def _serve(self, service: LiveService, *, task_status: trio.TaskStatus[Any]) -> None:
        await serve(
            listen(self._boot.socket, mode=SOCKET_MODE),
            service.handle,
            identity=self._identity,
            welcome=door(self._boot.secret),
            admit=service.admit,
            release=service.release,
            load=service.load,
            on_channel=self._met,
            task_status=task_status,
        )

    def _met(self, channel: Channel) -> None:
        self._channels = {known for known in self._channels if not known.closed.is_set()} | {channel}

    async def _shut_down(self) -> int:
        if not self._is_started or self._service is None:
            return 0
        try:
            await self._service.run_hooks("shutdown")
        except Exception as error:  # noqa: BLE001  (it belongs to the user, who finds it in the log)
            _say(f"on_shutdown failed:\n{user_traceback(error)}")
            return 1
        return 0

    def _health(self) -> dict[str, Any]:
        if self._service is None:
            return {"in_flight": 0, "queued": 0, "threads_stuck": 0}
        return self._service.health()

    async def _drain(self) -> None:
        for channel in self._channels:
            channel.send_drain()
        if self._service is not None:
            await self._service.drain()


async def _end_with_daemon(control: Control, scope: trio.CancelScope) -> None:
    await control.until_lost()
    _say("the daemon is gone; so is this replica")
    scope.cancel()


async def _cancel_at(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    await anext(signals)
    scope.cancel()


async def _report(control: Control, failure: StartError) -> None:
    sys.stderr.write(f"{failure.traceback}svcd: {failure.phase} of the service failed: {failure}\n")
    with suppress(CallError):
        await control.failed(failure.phase, str(failure), failure.traceback)


@contextmanager
def _failing(phase: str) -> Iterator[None]:
    try:
        yield
    except (Exception, SystemExit) as error:
        raise StartError.of(phase, error) from error


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _say(text: str) -> None:
    sys.stderr.write(f"svcd: {text}\n")
