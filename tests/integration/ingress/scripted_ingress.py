"""A whole ingress over real sockets: TCP to the client, a Unix socket to an entry that a script plays."""

from __future__ import annotations

import io
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import trio
from http_client import Http

from svcd.ingress.asgi import Ingress
from svcd.ingress.connections import Connections
from svcd.ingress.entry import Entry
from svcd.ingress.log import Log
from svcd.values.specs import Cors, HttpLimits
from svcd.worker.client import Client
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd_ipc.channel import IncomingCall

MAX_BODY = 100_000


@dataclass
class ScriptedEntry:
    """Plays the entry service. `apis` maps names to coroutine functions (or async generators, for streams) of the
    arguments of `svcd.http`."""

    apis: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    streams: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    calls: list[IncomingCall] = field(default_factory=list)
    schema_questions: int = 0

    async def handle(self, call: IncomingCall) -> Any:
        if call.api == "svcd.schema":
            self.schema_questions += 1
            plain = {name: {"doc": f"Do {name}.\nMore.", "is_stream": False} for name in self.apis}
            return {"apis": plain | {name: {"doc": "", "is_stream": True} for name in self.streams}}
        assert call.api == "svcd.http"
        self.calls.append(replace(call))  # a copy: the arguments are let go with the answer
        name = call.args["api"]
        return self.streams[name](call.args) if name in self.streams else await self.apis[name](call.args)


async def echo(args: dict[str, Any]) -> list[Any]:
    return [args["type"] or "application/octet-stream", args["body"]]


class Hanging:
    """An api that never ends of itself: tells when it runs, and when it was cancelled."""

    def __init__(self) -> None:
        self.started, self.cancelled = trio.Event(), trio.Event()

    async def __call__(self, _args: dict[str, Any]) -> None:
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.cancelled.set()


@dataclass
class Running:
    """The parts of a running ingress."""

    entry: ScriptedEntry
    client: Client
    face: Entry
    app: Ingress
    connections: Connections
    port: int
    out: io.StringIO
    replicas: list[list[str]]

    async def connect(self) -> Http:
        return Http(await trio.open_tcp_stream("127.0.0.1", self.port))

    def route(self, state: str, *, reason: str | None = None, ready: bool = True) -> None:
        """Say what the daemon would say of the entry."""
        replicas = self.replicas if ready else []
        self.client.update({"Mood": {"state": state, "reason": reason, "replicas": replicas}})

    @property
    def log(self) -> str:
        return self.out.getvalue()


async def start(
    path: str,
    nursery: trio.Nursery,
    *,
    seconds: float = 10.0,
    max_queue: int = 8,
    ready: bool = True,
    cors: Cors | None = None,
    **limits: Any,
) -> Running:
    """Start an ingress whose entry listens at `path`; the entry has the api `echo`, a deadline and a waiting room.

    `limits` are those of HttpLimits.
    """
    entry = ScriptedEntry({"echo": echo})
    await nursery.start(serve_entry, path, entry)
    client = Client(nursery, {"service": "ingress", "replica": 0})
    face = Entry(client.route("Mood", default_timeout=seconds, max_queue=max_queue))
    out = io.StringIO()
    all_limits = HttpLimits(**{"max_body": MAX_BODY} | limits)
    app = Ingress(face, limits=all_limits, cors=cors or Cors(), log=Log(out))
    app.version = "1"
    connections = Connections(app, all_limits, Log(out))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    nursery.start_soon(connections.serve, [listener])
    running = Running(entry, client, face, app, connections, port, out, [["Mood/0", path]])
    running.route("ready" if ready else "starting", ready=ready)
    return running


async def serve_entry(path: str, entry: ScriptedEntry, *, task_status: Any) -> None:
    await serve(listen(path), entry.handle, identity={"service": "Mood", "replica": 0}, task_status=task_status)
