"""The ingress process: listening socket in, control channel to the daemon, HTTP to the entry; SIGTERM ends it."""

from __future__ import annotations

import signal
import socket
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import trio

from svcd.ingress.asgi import Ingress
from svcd.ingress.connections import Connections
from svcd.ingress.entry import Entry
from svcd.ingress.listening import allow_descriptors, local_listener
from svcd.ingress.log import Log
from svcd.worker.client import Client
from svcd.worker.control import Control
from svcd.worker.demand import report_demand
from svcd.worker.pulse import Pulse
from svcd_ipc.errors import CallError, ProtocolError
from svcd_ipc.frames import DEFAULT_LIMIT

if TYPE_CHECKING:
    from svcd.tasks.runner import Runner
    from svcd.values.boot import IngressBoot
    from svcd.values.specs import HttpLimits

LISTENER = 3
"""Descriptor of the listening socket, which the keeper holds: it outlives this process and its successors share it."""
GRACE = 4.0
"""Seconds after SIGTERM for requests in flight to be answered; within the 5 s after which the daemon kills."""
SPARE = 128
"""Descriptors for all that is no HTTP connection: the entry's replicas above all."""
LARGEST_BODY = DEFAULT_LIMIT - 64 * 1024
"""Bytes; what a frame leaves for a body beside the rest of a call (name, types, the names of a form's fields)."""


def main(boot: IngressBoot) -> int:
    """Run until SIGTERM or until the daemon is gone; return the exit status."""
    # Ctrl-C reaches the whole foreground group, but the daemon decides who stops when.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = Log()
    try:
        listener = socket.socket(fileno=LISTENER)
        return trio.run(IngressProcess(boot, listener, log).run)
    except* (OSError, ProtocolError, CallError) as errors:
        for error in errors.exceptions:
            log.line(f"the ingress cannot start: {error}")
    return 1


class IngressProcess:
    """The parts of the process and how they start and stop."""

    def __init__(self, boot: IngressBoot, listener: socket.socket, log: Log) -> None:
        self._boot = boot
        self._listener = listener
        self._log = log
        self._served = trio.Event()

    async def run(self) -> int:
        """Serve until told to stop. Raises OSError, ProtocolError or CallError when the daemon cannot be reached."""
        identity = self._boot.identity
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:
                client = Client(nursery, {"service": identity.service, "replica": identity.replica})
                app = self._make_app(client)
                control = self._make_control(app, client, nursery)
                await control.connect(self._boot.link, nursery)
                self._start(nursery, client, control)
                await control.ready()
                status = await _first_of(signals, control)
                await self._finish()
                nursery.cancel_scope.cancel()
        return status

    def _make_app(self, client: Client) -> Ingress:
        """Make what answers requests: the entry, the tasks, and the connections that requests come over."""
        boot, limits = self._boot, self._limits()
        self._entry = Entry(client.route(boot.entry, default_timeout=boot.timeout, max_queue=boot.max_queue))
        self._runner = self._make_runner()
        app = Ingress(self._entry, limits=limits, cors=boot.cors, log=self._log, runner=self._runner)
        self._connections = Connections(app, limits, self._log)
        return app

    def _make_control(self, app: Ingress, client: Client, nursery: trio.Nursery) -> Control:
        """Make this process's end of the control channel: what the daemon tells it, and asks of it."""
        boot = self._boot

        def take_routes(services: dict[str, Any]) -> None:
            client.update(services)
            app.version = services[boot.entry].get("version", "")
            nursery.start_soon(self._entry.learn_news)

        return Control(
            boot.identity,
            boot.role,
            outlives=boot.outlives,
            routes=take_routes,
            health=lambda: self._health(app),
            drain=self._drain,
            drop=self._connections.abandon,
        )

    def _start(self, nursery: trio.Nursery, client: Client, control: Control) -> None:
        """Start what goes on for as long as the process lives."""
        if self._boot.pulse:
            nursery.start_soon(Pulse(self._boot.pulse).beat, self._boot.beat, list)
        nursery.start_soon(report_demand, client, control)
        nursery.start_soon(self._serve)
        if self._runner is not None:
            nursery.start_soon(self._runner.run)

    def _make_runner(self) -> Runner | None:
        if self._boot.tasks is None:
            return None
        from svcd.ingress.task_queue import make_runner  # noqa: PLC0415 - most apps have no use for SQLite

        return make_runner(self._boot.tasks, self._entry, self._log)

    def _health(self, app: Ingress) -> dict[str, int]:
        """Tell of requests and tasks; a task counts while it runs, and waits in the store before."""
        running, queued = (self._runner.running, self._runner.queued) if self._runner is not None else (0, 0)
        return {"in_flight": app.in_flight + running, "queued": queued, "connections": len(self._connections)}

    def _limits(self) -> HttpLimits:
        """Return the configured limits, or less where a frame to the entry or this process's own limits hold less."""
        limits = self._boot.limits
        if limits.max_body > LARGEST_BODY:
            self._log.line(
                f"[app] max_body is {limits.max_body}; bodies over {LARGEST_BODY} bytes are refused all the same"
            )
        most = allow_descriptors(limits.max_connections + SPARE) - SPARE
        if most < limits.max_connections:
            self._log.line(
                f"[app] max_connections is {limits.max_connections}; the limit on descriptors (ulimit -n) allows {most}"
            )
        return replace(
            limits,
            max_body=min(limits.max_body, LARGEST_BODY),
            max_connections=min(limits.max_connections, most),
        )

    async def _serve(self) -> None:
        self._listener.setblocking(False)
        listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(self._listener))]
        with local_listener(self._boot.socket) as local:
            if local is not None:
                listeners.append(trio.SocketListener(trio.socket.from_stdlib_socket(local)))
            await self._connections.serve(listeners)
        self._served.set()

    async def _drain(self) -> None:
        """Take no new requests and begin no tasks; return once those in flight have been answered, or have ended."""
        self._entry.is_stopping = True
        await self._connections.stop()
        if self._runner is not None:
            await self._runner.drain()
        await self._served.wait()

    async def _finish(self) -> None:
        with trio.move_on_after(GRACE) as grace:
            await self._drain()
        if grace.cancelled_caught:
            left = self._connections.abandon()
            self._log.line(f"stopped with {left} connections whose requests did not end within {GRACE:g} s")
            if self._runner is not None and self._runner.running:
                self._log.line(
                    f"stopped with {self._runner.running} tasks running: the next start says what became of them"
                )


async def _first_of(signals: Any, control: Control) -> int:
    """Wait for SIGTERM (0) or the loss of the daemon (1)."""
    status = 0

    async def watch_daemon(scope: trio.CancelScope) -> None:
        nonlocal status
        await control.until_lost()
        status = 1
        scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_daemon, nursery.cancel_scope)
        await anext(signals)
        nursery.cancel_scope.cancel()
    return status
