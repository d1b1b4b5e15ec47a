"""Calls that are cancelled: their callee ends, and nobody else notices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from ipc_handlers import Sleeper, echo
from trio.testing import wait_all_tasks_blocked

if TYPE_CHECKING:
    from svcd_ipc.channel import IncomingCall


async def test_cancelling_the_caller_cancels_the_callee(join: Any) -> None:
    sleeper = Sleeper()
    caller, callee = await join(sleeper)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.call, "sleep", {})
        await sleeper.started.wait()
        nursery.cancel_scope.cancel()
    await sleeper.ended.wait()
    assert caller.in_flight == 0
    assert await caller.call("echo", {"n": 1}) == {"n": 1}
    assert callee.serving == 0


async def test_cancelling_one_of_many_cancels_only_that_one(join: Any) -> None:
    going: set[int] = set()

    async def handler(call: IncomingCall) -> Any:
        going.add(call.args["n"])
        try:
            await release.wait()
        finally:
            going.discard(call.args["n"])
        return call.args["n"]

    release = trio.Event()
    caller, _ = await join(handler)
    scopes = [trio.CancelScope() for _ in range(10)]
    results: set[int] = set()

    async def call(n: int) -> None:
        with scopes[n]:
            results.add(await caller.call("api", {"n": n}))

    async with trio.open_nursery() as nursery:
        for n in range(10):
            nursery.start_soon(call, n)
        await wait_all_tasks_blocked()
        assert going == set(range(10))
        for scope in scopes[::2]:
            scope.cancel()
        await wait_all_tasks_blocked()
        assert going == set(range(1, 10, 2))
        release.set()
    assert results == set(range(1, 10, 2))


async def test_a_call_in_a_cancelled_scope_is_not_sent(join: Any) -> None:
    calls = []

    async def handler(call: IncomingCall) -> Any:
        calls.append(call.api)

    caller, _ = await join(handler)
    with trio.CancelScope() as scope:
        scope.cancel()
        await caller.call("never", {})
    await caller.call("after", {})
    assert calls == ["after"]


async def test_a_handler_that_will_not_be_cancelled_keeps_nobody_waiting(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        if call.api == "stubborn":
            begun.set()
            with trio.CancelScope(shield=True):
                await release.wait()
        return call.api

    begun, release = trio.Event(), trio.Event()
    caller, callee = await join(handler)
    async with trio.open_nursery() as calls:
        calls.start_soon(caller.call, "stubborn", {})
        await begun.wait()
        calls.cancel_scope.cancel()
    assert caller.in_flight == 0
    assert await caller.call("other", {}) == "other"
    assert callee.serving == 1
    release.set()
    await wait_all_tasks_blocked()
    assert callee.serving == 0
    assert await caller.call("other", {}) == "other"


async def test_an_error_raised_on_cancellation_ends_only_the_call(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        if call.api == "clumsy":
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in cleanup")
        return call.api

    begun = trio.Event()
    caller, callee = await join(handler)
    async with trio.open_nursery() as calls:
        calls.start_soon(caller.call, "clumsy", {})
        await begun.wait()
        calls.cancel_scope.cancel()
    assert await caller.call("other", {}) == "other"
    await wait_all_tasks_blocked()
    assert callee.serving == 0


async def test_cancelling_a_half_written_call_does_not_garble_the_stream(join: Any) -> None:
    caller, _ = await join(echo)
    array = np.ones(4_000_000)
    for _ in range(3):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(caller.call, "echo", {"x": array})
                await trio.lowlevel.checkpoint()
                nursery.start_soon(caller.call, "echo", {"x": array})
                scope.cancel()
        array[:] += 1
    assert await caller.call("echo", {"n": 1}) == {"n": 1}
