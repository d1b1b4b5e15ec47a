"""What a live service waits for: its calls, its hooks, and its last call. `serve` has the state."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.declare import hooks_of
from svcd.worker.stream import AsyncStream, SyncStream, ThreadStream
from svcd_ipc.calls import current_call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.worker.serve import LiveApi, LiveService, Slot
    from svcd.worker.thread import ServiceThreads
    from svcd_ipc.channel import IncomingCall

HTTP = "svcd.http"
ASGI = "svcd.asgi"
FACES = (HTTP, ASGI)
"""Reserved apis that run something of the service, and so take a slot."""


async def handle(live: LiveService, call: IncomingCall) -> Any:
    """Run an admitted call; see `LiveService.handle`."""
    api = live.apis.get(call.api)
    if api is None and call.api not in FACES:
        return live.about(call)
    slot = live.slot()
    try:
        if api is None:
            return await _face(live, call, slot)
        return await run(api, api.schema.validate(call.args), slot)
    except BaseException as error:  # noqa: BLE001  (raised again, or what it stands for)
        instead = live.told(error)
        try:
            if instead is error:
                raise
            raise instead from None
        finally:
            del instead  # its traceback refers to this frame
    finally:
        slot.drop()


async def _face(live: LiveService, call: IncomingCall, slot: Slot) -> Any:
    from svcd.worker import asgi, edge  # noqa: PLC0415  (only the entry service has to do with HTTP)

    if call.api == ASGI:
        return asgi.find(live.mounted, live.name, call.args).answer(call.args, slot)
    return await edge.answer(live, call.args, slot)


async def run(api: LiveApi, args: dict[str, Any], slot: Slot) -> Any:
    """Run an api with validated arguments; one that streams returns an async iterator, which holds the slot."""
    if api.is_plain:
        return api.checked(await api.method(**args))
    declared = api.declaration
    if api.schema.inputs and not declared.is_async:
        args |= {name: SyncStream(args[name], api.threads.portal) for name in api.schema.inputs & args.keys()}
    check = api.schema.check
    if api.batcher is not None:
        rows = await api.batcher.call(args, slot)
        return rows if check is None else check(rows)
    if declared.is_stream:
        slot.hold()
        items = api.method(**args)
        if declared.is_async:
            return AsyncStream(items, slot.drop, check)
        return ThreadStream(items, api.threads, slot.drop, check)
    slot.hold()
    return api.checked(await api.threads.run(_noting_wait(partial(api.method, **args)), on_end=slot.drop))


async def awaited(called: Awaitable[Any]) -> Any:
    """Be the coroutine of what can be awaited, and is none."""
    return await called


async def on_loop(method: Callable[..., Any], join: Callable[[], dict[str, Any]], on_end: Callable[[], None]) -> Any:
    """Run a batch of an `async def` api."""
    try:
        return await method(**join())
    finally:
        on_end()


async def on_thread(
    method: Callable[..., Any], threads: ServiceThreads, join: Callable[[], dict[str, Any]], on_end: Callable[[], None]
) -> Any:
    """Run a batch of a `def` api."""
    return await threads.run(lambda: method(**join()), on_end=on_end)


def _noting_wait(function: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that also notes how long it waited for its thread, where the call's times are kept."""
    call = current_call()
    timing = None if call is None else call.timing
    if call is None or timing is None:
        return function
    clock, asked = call.clock, call.clock()

    def run() -> Any:
        timing.queued += clock() - asked
        return function()

    return run


async def run_hooks(live: LiveService, moment: str) -> None:
    """Run the hooks of a service; see `LiveService.run_hooks`."""
    try:
        if moment == "shutdown":
            for mounted in live.mounted.values():
                await mounted.stop()
    finally:
        await _run_hooks(live, moment)
    if moment == "startup":
        for mounted in live.mounted.values():
            await mounted.start(live.instance)


async def _run_hooks(live: LiveService, moment: str) -> None:
    for name in hooks_of(type(live.instance), moment):
        hook = getattr(live.instance, name)
        if inspect.iscoroutinefunction(hook):
            await (hook() if live.side is None else live.side.run(hook))
        else:
            await live.threads.run(hook)


async def drain(live: LiveService) -> None:
    """Have nothing more admitted, and return when no slot is taken."""
    if live.idle is None:
        live.idle = trio.Event()
    if live.taken:
        await live.idle.wait()
