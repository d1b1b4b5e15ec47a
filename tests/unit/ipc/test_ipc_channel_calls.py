"""Calls over a real socket pair: answers and admission."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from ipc_handlers import echo
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.channel import Channel, IncomingCall, call_context, current_call
from svcd_ipc.connection import Connection
from svcd_ipc.errors import (
    Busy,
)
from svcd_ipc.messages import Hello, Result

if TYPE_CHECKING:
    from collections.abc import Callable


async def sometimes_waits(call: IncomingCall) -> Any:
    """Wait for as many passes of the loop as the arguments say."""
    for _ in range(call.args["passes"]):
        await trio.lowlevel.checkpoint()
    return call.args["n"]


async def test_an_answer(join: Any) -> None:
    caller, callee = await join(echo)
    assert await caller.call("echo", {"a": [1, "b", None]}) == {"a": [1, "b", None]}
    assert (caller.in_flight, callee.serving) == (0, 0)


async def test_many_in_flight_each_get_their_own_answer(join: Any) -> None:
    caller, _ = await join(sometimes_waits)
    answers: dict[int, int] = {}

    async def call(n: int) -> None:
        for more in range(5):
            number = 10 * n + more
            answers[number] = await caller.call("api", {"n": number, "passes": number % 4})

    async with trio.open_nursery() as nursery:
        for n in range(200):
            nursery.start_soon(call, n)
    assert answers == {number: number for n in range(200) for number in range(10 * n, 10 * n + 5)}
    assert caller.in_flight == 0


async def test_both_sides_call_each_other_at_once(join: Any) -> None:
    one, other = await join(echo, caller={"handler": echo})
    done = 0

    async def call(channel: Channel, n: int) -> None:
        nonlocal done
        assert await channel.call("echo", {"n": n}) == {"n": n}
        done += 1

    async with trio.open_nursery() as nursery:
        for n in range(100):
            nursery.start_soon(call, one, n)
            nursery.start_soon(call, other, n)
    assert done == 200


async def test_a_handler_may_call_back_on_the_same_channel(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        return await other.call("echo", call.args) if call.api == "back" else call.args

    one, other = await join(handler, caller={"handler": echo})
    for n in range(3):
        assert await one.call("back", {"n": n}) == {"n": n}


async def test_large_arrays_there_and_back(join: Any) -> None:
    caller, _ = await join(echo)
    array = np.arange(3_000_000.0)
    async with trio.open_nursery() as nursery:
        for _ in range(3):

            async def check() -> None:
                assert np.array_equal((await caller.call("echo", {"x": array}))["x"], array)

            nursery.start_soon(check)


async def test_a_result_may_be_reused_by_its_service_at_once(join: Any) -> None:
    buffer = np.zeros(2_000_000)

    async def handler(call: IncomingCall) -> Any:
        buffer[:] = call.args["n"]
        return buffer

    caller, _ = await join(handler)
    found: dict[int, Any] = {}

    async def call(n: int) -> None:
        found[n] = await caller.call("fill", {"n": n})

    async with trio.open_nursery() as nursery:
        for n in range(4):
            nursery.start_soon(call, n)
    assert all((array == n).all() for n, array in found.items())


async def test_the_call_is_current_in_its_handler_and_nowhere_else(join: Any) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="clean")

    async def handler(call: IncomingCall) -> Any:
        if call.args["wait"]:
            await trio.lowlevel.checkpoint()
        assert current_call() is call
        found = variable.get()
        variable.set("dirty")
        return [found, call.api, call.trace, call.attempt, str(call.peer)]

    caller, _ = await join(handler)
    for wait in (True, False) * 3:
        assert await caller.call("api", {"wait": wait}, trace="00-a-b-01", attempt=2) == [
            *("clean", "api", "00-a-b-01", 2, "Entry/0"),
        ]
    assert current_call() is None


def test_call_context_sets_and_resets() -> None:
    outer = IncomingCall("a", {}, None, None, 0, None)  # type: ignore[arg-type] - nobody looks at the peer
    inner = IncomingCall("b", {}, None, None, 0, None)  # type: ignore[arg-type] - as above
    with call_context(outer):
        with call_context(inner):
            assert current_call() is inner
        assert current_call() is outer
    assert current_call() is None


# Admission


async def test_busy_is_told_with_the_load_and_does_not_start_the_call(join: Any) -> None:
    started = []

    async def handler(call: IncomingCall) -> Any:
        started.append(call.api)

    caller, _ = await join(handler, admit=lambda call: call.api == "in", load=lambda: (7, 3))
    await caller.call("in", {})
    with pytest.raises(Busy, match=r"Classifier/1\.out: busy") as caught:
        await caller.call("out", {})
    assert caught.value.load == (7, 3)
    assert started == ["in"]


async def test_each_answer_brings_the_load(join: Any) -> None:
    load = (0, 0)
    caller, _ = await join(echo, load=lambda: load)
    for load in [(1, 2), (3, 4)]:
        await caller.call("echo", {})
        assert caller.peer_load == load


async def test_after_drain_calls_in_flight_finish_and_new_ones_are_busy(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        await release.wait()
        return call.api

    release = trio.Event()
    caller, callee = await join(handler)
    async with trio.open_nursery() as nursery:

        async def first() -> None:
            assert await caller.call("first", {}) == "first"

        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        callee.send_drain()
        await wait_all_tasks_blocked()
        assert caller.draining
        with pytest.raises(Busy):
            await caller.call("second", {})
        release.set()


async def test_drain_is_noticed_while_nobody_calls(join: Any, autojump_clock: Any) -> None:
    caller, callee = await join(echo)
    await caller.call("echo", {})
    callee.send_drain()
    await trio.sleep(0.1)
    assert caller.draining


async def test_ping(join: Any) -> None:
    caller, callee = await join(echo)
    assert await caller.ping() >= 0
    assert await callee.ping() >= 0
    await caller.call("echo", {})
    assert await caller.ping() >= 0


async def test_repr(join: Any) -> None:
    caller, _ = await join(echo)
    assert repr(caller) == "<Channel to Classifier/1 [open, 0 in flight, 0 serving]>"
    caller.close()
    await caller.closed.wait()
    assert repr(caller) == "<Channel to Classifier/1 [closed, 0 in flight, 0 serving]>"


async def test_an_answer_does_not_wait_for_a_call_that_came_with_it(
    raw_peer: Callable[..., tuple[Channel, trio.SocketStream]],
) -> None:
    """Answers to calls that came together are joined, but not with that of a call which has to wait."""
    asked_for_more = trio.Event()

    async def handler(call: IncomingCall) -> str:
        if call.api == "slow":
            await asked_for_more.wait()
        return call.api

    _, wire = raw_peer(handler)
    peer = Connection()
    await wire.send_all(b"".join(peer.send_hello({"service": "Caller"})))
    answers: list[str] = []
    with trio.fail_after(5):
        while len(answers) < 3:
            peer.receive_data(await wire.receive_some())
            while (event := peer.next_event()) is not None:
                if isinstance(event, Hello):
                    calls = [chunk for api in ("quick", "slow") for chunk in peer.send_call(api, {})[1]]
                    await wire.send_all(b"".join(calls))
                elif isinstance(event, Result):
                    answers.append(event.value)
                    if event.value == "quick" and len(answers) == 1:
                        asked_for_more.set()
                        await wire.send_all(b"".join(peer.send_call("quick", {})[1]))
    assert answers[0] == "quick"
    assert sorted(answers[1:]) == ["quick", "slow"]
