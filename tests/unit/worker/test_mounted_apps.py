"""ASGI applications inside a live service, without processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

import svcd
from svcd.worker.asgi import PIECE
from svcd.worker.portal import Portal
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads
from svcd_ipc.calls import IncomingCall
from svcd_ipc.errors import UnknownApi
from svcd_ipc.messages import Hello

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPE = {"method": "GET", "path": "/x", "headers": [[b"a", b"b"]], "client": ["1.2.3.4", 5], "server": None}


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Any:
    """Make a live service of one application."""
    started: list[LiveService] = []

    async def make(app: Callable[..., Any]) -> LiveService:
        @svcd.service
        @svcd.asgi_app(app, path="/x")
        class Entry: ...

        threads = ServiceThreads("Entry", Portal(nursery))
        threads.start()
        live = LiveService("Entry", threads, max_concurrency=2)
        live.attach(Entry())
        await live.run_hooks("startup")
        started.append(live)
        return live

    yield make
    for live in started:
        live.threads.stop()


async def ask(live: LiveService, body: bytes = b"") -> Any:
    call = IncomingCall("svcd.asgi", {"mount": "/x", "scope": SCOPE, "body": body}, None, None, 0, Hello(1, {}))
    assert live.admit(call)
    return await live.handle(call)


def without_lifespan(app: Callable[..., Any]) -> Callable[..., Any]:
    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise NotImplementedError(scope["type"])
        await app(scope, receive, send)

    return guarded


async def settled(live: LiveService) -> None:
    while live.taken:
        await trio.lowlevel.checkpoint()


async def test_a_request_and_its_response(serve: Any) -> None:
    seen: dict[str, Any] = {}

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.update(scope, message=await receive())
        await send({"type": "http.response.start", "status": 201, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"done"})

    live = await serve(app)
    response = await ask(live, b"asked")
    assert [item async for item in response] == [{"status": 201, "headers": [[b"x", b"y"]], "body": b"done"}]
    await response.aclose()
    await settled(live)
    assert seen["message"] == {"type": "http.request", "body": b"asked", "more_body": False}
    assert (seen["root_path"], seen["client"], seen["headers"]) == ("/x", ("1.2.3.4", 5), [(b"a", b"b")])
    assert seen["state"]["service"] is live.instance


async def test_a_large_body_travels_in_pieces(serve: Any) -> None:
    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"x" * (2 * PIECE + 1), "more_body": True})
        await send({"type": "http.response.body"})

    live = await serve(app)
    head, *rest = [item async for item in await ask(live)]
    assert [len(head["body"]), *map(len, rest)] == [PIECE, PIECE, 1]
    await settled(live)


async def test_a_reader_that_takes_nothing_holds_the_application_up(serve: Any) -> None:
    sent = 0

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal sent
        await send({"type": "http.response.start", "status": 200})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
            sent += 1

    live = await serve(app)
    response = await ask(live)
    await trio.testing.wait_all_tasks_blocked()
    assert sent == 0
    await anext(response)
    await trio.testing.wait_all_tasks_blocked()
    assert sent == 1
    await response.aclose()
    await settled(live)


async def test_a_reader_that_leaves_cancels_the_application(serve: Any) -> None:
    ended = trio.Event()

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    live = await serve(app)
    response = await ask(live)
    with trio.move_on_after(0.01):
        await anext(response)
    assert live.taken == 1
    await response.aclose()
    await ended.wait()
    await settled(live)


async def test_background_work_keeps_its_slot_until_it_is_done(serve: Any) -> None:
    go_on, seen = trio.Event(), []

    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})
        seen.append(await receive())
        await go_on.wait()

    live = await serve(app)
    response = await ask(live)
    assert len([item async for item in response]) == 1
    await response.aclose()
    await trio.testing.wait_all_tasks_blocked()
    assert (live.taken, seen) == (1, [{"type": "http.disconnect"}])
    go_on.set()
    await settled(live)


@pytest.mark.parametrize("after", [0, 1])
async def test_an_exception_is_the_reader_s(serve: Any, after: int) -> None:
    @without_lifespan
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        if after:
            await send({"type": "http.response.body", "body": b"1", "more_body": True})
        raise ValueError("here")

    live = await serve(app)
    response = await ask(live)
    for _ in range(after):
        await anext(response)
    with pytest.raises(ValueError, match="here"):
        await anext(response)
    await response.aclose()
    await settled(live)


async def test_an_application_that_answers_nothing_or_out_of_turn_is_an_error(serve: Any) -> None:
    @without_lifespan
    async def silent(scope: Any, receive: Any, send: Any) -> None: ...

    @without_lifespan
    async def hasty(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.body"})

    for app, says in ((silent, "returned before it had answered"), (hasty, "cannot come now")):
        live = await serve(app)
        with pytest.raises(RuntimeError, match=says):
            await anext(await ask(live))
        await settled(live)


async def test_a_mount_that_is_not_there_is_named(serve: Any) -> None:
    live = await serve(without_lifespan(lambda *_: None))
    call = IncomingCall("svcd.asgi", {"mount": "/y", "scope": SCOPE, "body": b""}, None, None, 0, Hello(1, {}))
    assert live.admit(call)
    with pytest.raises(UnknownApi, match="Entry has no application at '/y'"):
        await live.handle(call)
    assert live.taken == 0


async def test_the_lifespan_s_state_is_each_request_s(serve: Any) -> None:
    told: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            scope["state"]["pool"] = "open"
            told.append((await receive())["type"])
            await send({"type": "lifespan.startup.complete"})
            told.append((await receive())["type"])
            await send({"type": "lifespan.shutdown.complete"})
            return
        told.append(scope["state"]["pool"])
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    live = await serve(app)
    assert len([item async for item in await ask(live)]) == 1
    await live.run_hooks("shutdown")
    assert told == ["lifespan.startup", "open", "lifespan.shutdown"]
    await settled(live)


async def test_a_startup_that_fails_raises_its_reason(serve: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(RuntimeError, match="no database"):
        await serve(app)

    async def raising(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        raise ConnectionError("the cause itself")

    with pytest.raises(ConnectionError, match="the cause itself"):
        await serve(raising)
