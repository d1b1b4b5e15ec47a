"""ASGI applications inside a replica: their lifespan, and their answers as streams of the data plane.

A request comes whole, within the ingress's limit on bodies. A response goes out as a stream: first
`{status, headers, body}` with what the application sent first, then pieces of the body. Law: a piece is sent when the
reader has room for it; a reader that leaves cancels the application; what an application does after its response is
complete (background tasks) is left to run, and keeps its slot until it ends.
"""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING, Any

import trio

from svcd_ipc.errors import ServiceUnavailable, UnknownApi

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, MutableMapping

    from svcd.app.mounts import Mount
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.serve import Slot

    Message = MutableMapping[str, Any]

PIECE = 64 * 1024
"""Bytes of a body that travel at once; the window of a stream counts pieces."""
LAST_WORDS = 1.0
"""Seconds for an application that has said that its startup failed to raise the reason."""
_VERSION = {"version": "3.0", "spec_version": "2.4"}


class MountedApp:
    """One application of a live service."""

    def __init__(self, mount: Mount, nursery: trio.Nursery, side: AsyncioSide | None = None) -> None:
        self._mount = mount
        self._nursery = nursery
        self._side = side
        self._app: Any = None
        self._state: dict[str, Any] = {}
        self._lifespan: Lifespan | None = None

    def __repr__(self) -> str:
        return f"<MountedApp {self._mount.path or '/'} {self._app!r}>"

    async def start(self, instance: Any) -> None:
        """Make the application and begin its lifespan. Raises what its startup raised."""
        made = self._mount.make(instance)
        self._app = made if self._side is None else on_asyncio(made, self._side)
        self._state = {"service": instance}
        self._lifespan = Lifespan(self._app, self._state)
        await self._lifespan.start(self._nursery)

    async def stop(self) -> None:
        """End its lifespan. Raises what its shutdown raised."""
        if self._lifespan is not None:
            await self._lifespan.stop()

    def answer(self, request: Mapping[str, Any], slot: Slot) -> AsgiResponse:
        """Answer `svcd.asgi`: `{mount, scope, body}`, with ASGI's scope as far as it is plain values."""
        told = request["scope"]
        scope = told | {
            "type": "http",
            "asgi": _VERSION,
            "root_path": self._mount.path,
            "headers": [(name, value) for name, value in told["headers"]],
            "client": tuple(told["client"]) if told["client"] else None,
            "server": tuple(told["server"]) if told["server"] else None,
            "state": self._state.copy(),
            "extensions": {},
        }
        response = AsgiResponse(request["body"], slot)
        self._nursery.start_soon(response.run, self._app, scope)
        return response


def on_asyncio(app: Any, side: AsyncioSide) -> Any:
    """Return an application that runs another one on the service's asyncio loop."""

    async def run(scope: Message, receive: Any, send: Any) -> None:
        async def ask_send(message: Message) -> None:
            await side.ask(send, message)

        await side.run(lambda: app(scope, lambda: side.ask(receive), ask_send))

    return run


def find(mounted: Mapping[str, MountedApp], service: str, request: Mapping[str, Any]) -> MountedApp:
    """Return the application that a request is for."""
    try:
        return mounted[request["mount"]]
    except KeyError:
        raise UnknownApi(f"{service} has no application at {request.get('mount')!r}") from None


class AsgiResponse:
    """One response: the application runs in a task of its own, beside whoever takes the items."""

    def __init__(self, body: bytes, slot: Slot) -> None:
        self._body: bytes | None = body
        self._slot = slot
        slot.hold()
        self._out, self._in = trio.open_memory_channel[Any](0)
        self._head: dict[str, Any] | None = None
        self._is_begun = False
        self._is_complete = False
        self._error: Exception | None = None
        self._gone = trio.Event()
        self._scope = trio.CancelScope()

    def __aiter__(self) -> AsgiResponse:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._in.receive()
        except trio.EndOfChannel:
            if self._error is not None:
                raise self._error from None
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Take no more; an application that has not sent all is cancelled."""
        self._gone.set()
        self._in.close()
        if not self._is_complete:
            self._scope.cancel()

    async def run(self, app: Any, scope: dict[str, Any]) -> None:
        """Run the application to its end."""
        self._error = ServiceUnavailable("the service is stopping")  # unless it comes to another end
        try:
            with self._scope:
                await app(scope, self._receive, self._send)
            self._error = None if self._is_complete else RuntimeError("the application returned before it had answered")
        except Exception as error:  # noqa: BLE001 - it belongs to who reads the response, or else to the log
            if self._is_complete:
                traceback.print_exception(error, file=sys.stderr)
            else:
                self._error = error
        finally:
            self._out.close()
            self._slot.drop()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start" and self._head is None:
            self._head = {"status": message["status"], "headers": _listed(message.get("headers", ()))}
        elif kind == "http.response.body" and self._head is not None and not self._is_complete:
            await self._send_body(message.get("body", b""), is_last=not message.get("more_body", False))
        else:
            raise RuntimeError(f"{kind} cannot come now")

    async def _send_body(self, body: bytes, *, is_last: bool) -> None:
        items: list[Any] = list(_pieces(body))
        if not self._is_begun:
            self._is_begun = True
            items[0] = {**(self._head or {}), "body": items[0]}
        try:
            for item in items:
                if item:
                    await self._out.send(item)
        except trio.BrokenResourceError:
            raise OSError("the client is gone") from None
        if is_last:
            self._is_complete = True
            self._error = None
            self._out.close()


class Lifespan:
    """Tells an application of startup and shutdown; one that does not want to know is left alone."""

    def __init__(self, app: Any, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._told, self._news = trio.open_memory_channel[Any](2)
        self._step = trio.Event()
        self._failed = False
        self._error: Exception | None = None
        self._ended = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        """Return when it has started up."""
        nursery.start_soon(self._run)
        await self._tell("startup")

    async def stop(self) -> None:
        """Return when it has shut down."""
        if not self._ended.is_set():
            await self._tell("shutdown")

    async def _tell(self, moment: str) -> None:
        self._step = trio.Event()
        self._told.send_nowait({"type": f"lifespan.{moment}"})
        await self._step.wait()
        if self._failed:
            with trio.move_on_after(LAST_WORDS):
                await self._ended.wait()  # most go on to raise the cause itself, which says more
            raise self._error or RuntimeError(f"the application's {moment} failed")

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": _VERSION | {"spec_version": "2.0"}, "state": self._state}
        try:
            await self._app(scope, self._news.receive, self._send)
        except Exception as error:  # noqa: BLE001 - an application without lifespan refuses its scope with any of them
            self._error = error
        finally:
            self._ended.set()
            self._step.set()

    async def _send(self, message: Message) -> None:
        if message["type"].endswith(".failed"):
            self._failed = True
            self._error = RuntimeError(message.get("message") or "the application's lifespan failed")
        self._step.set()


def _pieces(body: bytes) -> Iterator[bytes]:
    yield body[:PIECE]
    for start in range(PIECE, len(body), PIECE):
        yield body[start : start + PIECE]


def _listed(headers: Any) -> list[list[bytes]]:
    return [[bytes(name), bytes(value)] for name, value in headers]
