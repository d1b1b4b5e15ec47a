"""How a connection ends with its peer. Every call gets an answer, and nobody else notices."""

from __future__ import annotations

import os
import socket
from functools import partial
from typing import Any

import pytest
import trio
from conversation import ROGUE_HELLO, raw
from ipc_handlers import echo, forever, lost
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.channel import Channel, IncomingCall
from svcd_ipc.client import connect
from svcd_ipc.errors import ReplicaLost, ServiceUnavailable
from svcd_ipc.server import listen, serve


async def test_all_calls_in_flight_are_lost_at_once_with_the_peer(join: Any) -> None:
    caller, callee = await join(forever)
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(lost, caller)
        await wait_all_tasks_blocked()
        callee.close()
    await caller.closed.wait()
    assert isinstance(caller.close_reason, EOFError)
    assert callee.close_reason is None


async def test_a_stream_is_lost_after_the_items_that_came(join: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        async def items() -> Any:
            yield 1
            yield 2
            await trio.sleep_forever()

        return items()

    caller, callee = await join(handler)
    stream = caller.stream("tokens", {})
    assert await anext(stream) == 1
    await wait_all_tasks_blocked()
    callee.close()
    assert await anext(stream) == 2
    with pytest.raises(ReplicaLost):
        await anext(stream)


async def test_handlers_are_cancelled_when_their_caller_is_lost(join: Any) -> None:
    cancelled = trio.Event()

    async def handler(_call: IncomingCall) -> Any:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.set()

    caller, callee = await join(handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lost, caller)
        await wait_all_tasks_blocked()
        caller.close()
    await cancelled.wait()
    await callee.closed.wait()


async def test_a_call_on_a_closed_channel_was_not_sent(join: Any) -> None:
    caller, _ = await join(echo)
    caller.close()
    await caller.closed.wait()
    for attempt in (caller.call("api", {}), anext(caller.stream("api", {})), caller.ping()):
        with pytest.raises(ServiceUnavailable, match="this side has closed it"):
            await attempt


async def test_a_call_before_the_handshake_was_not_sent() -> None:
    one, other = socket.socketpair()
    with one, other, pytest.raises(ServiceUnavailable, match="not open yet"):
        await Channel(one, identity={}).call("api", {})


async def test_a_call_that_waits_behind_a_full_socket_was_not_sent(raw_peer: Any) -> None:
    channel, peer = raw_peer(None)
    await peer.send_all(ROGUE_HELLO)
    await wait_all_tasks_blocked()
    outcomes: list[type[Exception]] = []

    async def call(size: int) -> None:
        try:
            await channel.call("api", {"x": bytes(size)})
        except (ReplicaLost, ServiceUnavailable) as error:
            outcomes.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, 3_000_000)
        await wait_all_tasks_blocked()
        nursery.start_soon(call, 10)
        await wait_all_tasks_blocked()
        await peer.aclose()
    assert sorted(kind.__name__ for kind in outcomes) == ["ReplicaLost", "ServiceUnavailable"]


async def test_the_answer_that_came_before_the_end_is_not_lost(raw_peer: Any) -> None:
    channel, peer = raw_peer(None)
    await peer.send_all(ROGUE_HELLO)
    await wait_all_tasks_blocked()

    async def answer_and_leave() -> None:
        await peer.receive_some()
        await peer.send_all(raw(2, 1, "the last word", 0, 0))
        await peer.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer_and_leave)
        assert await channel.call("api", {}) == "the last word"
    await channel.closed.wait()


async def test_close_while_a_lone_caller_reads_for_itself(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        return await forever(call) if call.api == "api" else call.args

    caller, _ = await join(handler)
    await caller.call("echo", {})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lost, caller)
        await wait_all_tasks_blocked()
        caller.close()


async def test_the_end_is_noticed_while_nobody_calls(join: Any, autojump_clock: Any) -> None:
    caller, callee = await join(echo)
    await caller.call("echo", {})
    callee.close()
    await caller.closed.wait()


async def test_cancelling_run_ends_the_connection() -> None:
    one, other = socket.socketpair()
    caller = Channel(one, identity={})
    callee = Channel(other, identity={"service": "Classifier", "replica": 1}, handler=forever)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: _run_both(caller, callee, task_status))
        nursery.start_soon(lost, caller)
        await wait_all_tasks_blocked()
        callee._nursery.cancel_scope.cancel()
        await callee.closed.wait()
        await caller.closed.wait()


async def _run_both(caller: Channel, callee: Channel, task_status: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(callee.run)
        await nursery.start(caller.run)
        task_status.started()


async def test_an_admitted_call_that_is_cancelled_before_it_begins_is_released(join: Any) -> None:
    admitted, handled, released = list[str](), list[str](), list[str]()

    def admit(call: IncomingCall) -> bool:
        admitted.append(call.api)
        return True

    async def handler(call: IncomingCall) -> None:
        handled.append(call.api)
        await trio.lowlevel.checkpoint()

    caller, _ = await join(handler, admit=admit, release=lambda call: released.append(call.api))
    for ticks in range(12):
        for _ in range(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(caller.call, "api", {})
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
    await caller.ping()
    await wait_all_tasks_blocked()
    assert len(admitted) == len(handled) + len(released)
    assert released, "the schedule above does catch some calls in between"


async def test_calls_that_wait_for_a_hand_are_released_with_their_connection(raw_peer: Any) -> None:
    admitted, handled, released = list[int](), list[int](), list[int]()

    def admit(call: IncomingCall) -> bool:
        admitted.append(1)
        return True

    async def handler(_call: IncomingCall) -> None:
        handled.append(1)
        await trio.sleep_forever()

    channel, peer = raw_peer(handler, admit=admit, release=lambda _call: released.append(1))
    calls = b"".join(raw(1, number, "api", {}, None, None, 0, 0) for number in range(1, 51))
    await peer.send_all(ROGUE_HELLO + calls)
    await peer.aclose()
    await channel.closed.wait()
    await wait_all_tasks_blocked()
    assert len(admitted) == len(handled) + len(released)


async def test_a_peer_that_says_hello_and_is_gone_does_not_end_the_server(tmp_path: Any, nursery: trio.Nursery) -> None:
    path = str(tmp_path / "s.sock")
    serving = partial(serve, listen(path), echo, identity={"service": "Classifier"}, on_channel=lambda _channel: None)
    await nursery.start(serving)
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.sendall(ROGUE_HELLO)
    async with trio.open_nursery() as connections:
        channel = await connect(path, nursery=connections, identity={"service": "Entry"})
        assert await channel.call("api", {"x": 1}) == {"x": 1}
        channel.close()
    nursery.cancel_scope.cancel()


async def test_a_peer_is_found_gone_as_a_call_of_it_has_begun_to_wait_for_it(raw_peer: Any) -> None:
    begun = list[str]()

    async def handler(call: IncomingCall) -> Any:
        begun.append(call.api)
        return None if call.api == "quick" else await channel.call("back", {})

    channel, peer = raw_peer(handler)
    await peer.receive_some()  # hello: what is not read would break the connection before its calls are looked at
    # They come together, so the first one's answer is sent once the second has begun, and there is nobody to take it.
    calls = raw(1, 1, "quick", {}, None, None, 0, 0) + raw(1, 2, "slow", {}, None, None, 0, 0)
    os.write(peer.socket.fileno(), ROGUE_HELLO + calls)
    peer.socket.close()
    await channel.closed.wait()
    assert begun == ["quick", "slow"]
