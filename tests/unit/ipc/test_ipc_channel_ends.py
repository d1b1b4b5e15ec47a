"""How a connection ends: lost peers, hostile peers, refusals. Every call gets an answer, and nobody else notices."""

from __future__ import annotations

import resource
import socket
from functools import partial
from typing import Any

import msgpack
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from svcd_ipc import frames
from svcd_ipc.channel import Channel, Hello, IncomingCall, Limits
from svcd_ipc.client import connect
from svcd_ipc.connection import Connection
from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError, ReplicaLost, ServiceUnavailable
from svcd_ipc.messages import Error, Result
from svcd_ipc.outbox import HIGH_WATER
from svcd_ipc.server import listen, serve

HELLO = b"".join(Connection().send_hello({"service": "Rogue"}))


def raw(*message: Any) -> bytes:
    return frames.pack(msgpack.packb(list(message)))


async def echo(call: IncomingCall) -> Any:
    return call.args


async def forever(_call: IncomingCall) -> Any:
    await trio.sleep_forever()


async def lost(channel: Channel) -> None:
    with pytest.raises(ReplicaLost, match=r"Classifier/1\.api: (lost|stopped) while the call"):
        await channel.call("api", {})


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
    await peer.send_all(HELLO)
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
    await peer.send_all(HELLO)
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


# Peers that break the rules


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the limit is"),
        (b"\x80\x81\x82" + b"\xff" * 100, "the limit is"),
        (bytes(4), "empty frame"),
        (raw(0, "svcd", 99, {}, []), "speaks version 99"),
        (raw(1, 1, "api", {}, None, None, 0, 0), "not hello"),
        (HELLO + HELLO, "hello twice"),
        (HELLO + raw(42), "unknown kind 42"),
        (HELLO + frames.pack(b"\xc1\xc1"), "not msgpack"),
        (HELLO + raw(2, 7, None, 0, 0), "call 7, which is not open"),
        (HELLO + (2**31).to_bytes(4, "little"), f"{2**31} bytes; the limit is"),
        (HELLO + raw(1, 1, "api", {}, None, None, 0, 0)[:-1] + b"\xc1", "not msgpack"),
    ],
    ids=[
        *("http", "noise", "empty", "version", "call", "hello", "kind", "frame", "answer", "giant", "truncated"),
    ],
)
async def test_a_hostile_peer_is_told_why_and_dropped_while_others_go_on(
    raw_peer: Any, join: Any, data: bytes, reason: str
) -> None:
    caller, _ = await join(echo)
    channel, peer = raw_peer(echo)
    await peer.send_all(data)
    await channel.closed.wait()
    assert isinstance(channel.close_reason, RemoteProtocolError)
    assert reason in str(channel.close_reason)
    told = await _all_events(peer)
    assert isinstance(told[-1], Error)
    assert (told[-1].id, reason in told[-1].message) == (0, True)
    assert await caller.call("echo", {"n": 1}) == {"n": 1}


@pytest.mark.parametrize("cut", [2, 5, 20])
async def test_a_half_frame_and_gone(raw_peer: Any, cut: int) -> None:
    channel, peer = raw_peer(echo)
    await peer.send_all((HELLO + raw(1, 1, "echo", {"x": "y" * 50}, None, None, 0, 0))[: len(HELLO) + cut])
    await peer.aclose()
    await channel.closed.wait()
    assert isinstance(channel.close_reason, RemoteProtocolError)
    assert "ended the connection after" in str(channel.close_reason)


async def test_an_announced_giant_allocates_nothing(raw_peer: Any) -> None:
    limit = frames.DEFAULT_LIMIT
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        channel, peer = raw_peer(echo)
        await peer.send_all(HELLO + limit.to_bytes(4, "little") + b"x")
        await wait_all_tasks_blocked()
        assert not channel.closed.is_set()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < limit / 1024


async def test_calls_before_a_violation_are_still_answered(raw_peer: Any) -> None:
    channel, peer = raw_peer(echo)
    await peer.send_all(HELLO + raw(1, 1, "echo", {"n": 1}, None, None, 0, 0) + raw(42))
    await channel.closed.wait()
    told = await _all_events(peer, calls=1)
    assert [type(event) for event in told] == [Hello, Result, Error]


async def test_a_peer_that_reads_nothing_does_not_fill_memory(raw_peer: Any) -> None:
    answer = bytes(100_000)
    served = 0

    async def handler(_call: IncomingCall) -> Any:
        nonlocal served
        served += 1
        return answer

    channel, stream = raw_peer(handler)
    peer = Connection()
    count = 500
    await stream.send_all(b"".join(peer.send_hello({})))
    data = b"".join(chunk for _ in range(count) for chunk in peer.send_call("api", {})[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        await wait_all_tasks_blocked()
        assert served * len(answer) < 2 * HIGH_WATER
        assert channel._outbox.size < 2 * HIGH_WATER
        answers = 0
        while answers < count:
            peer.receive_data(await stream.receive_some(1 << 20))
            while (event := peer.next_event()) is not None:
                answers += isinstance(event, Result)
    assert served == count


async def test_a_peer_that_calls_without_end_and_never_answers_is_dropped(
    raw_peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from svcd_ipc import reader

    monkeypatch.setattr(reader, "_MOST_STALLED", 50)

    async def handler(_call: IncomingCall) -> Any:
        return bytes(HIGH_WATER + 1)

    channel, stream = raw_peer(handler)
    peer = Connection()
    await stream.send_all(b"".join(peer.send_hello({})))
    await wait_all_tasks_blocked()
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lost_or_not, channel)
            await wait_all_tasks_blocked()
            calls = [peer.send_call("api", {})[1] for _ in range(100)]
            await stream.send_all(b"".join(chunk for chunks in calls for chunk in chunks))
            await channel.closed.wait()
            scope.cancel()
    assert "reads no answers" in str(channel.close_reason)


async def lost_or_not(channel: Channel) -> None:
    with pytest.raises(ReplicaLost):
        await channel.call("never", {})


# Refusals


async def test_a_peer_that_is_not_welcome_is_told_why(nursery: trio.Nursery) -> None:
    def welcome(peer: Hello) -> None:
        raise PermissionError(f"wrong nonce from {peer}")

    one, other = socket.socketpair()
    caller = Channel(one, identity={"service": "Entry", "replica": 0})
    callee = Channel(other, identity={"service": "Classifier"}, welcome=welcome, speaks_first=False)
    nursery.start_soon(callee.run)
    await nursery.start(caller.run)
    assert caller.closed.is_set()
    assert caller.peer is None
    assert isinstance(caller.close_reason, LocalProtocolError)
    assert "wrong nonce from Entry/0" in str(caller.close_reason)
    assert callee.peer is None
    await callee.closed.wait()


async def test_an_answer_over_the_peers_limit_ends_the_connection_with_the_reason(nursery: trio.Nursery) -> None:
    async def handler(_call: IncomingCall) -> Any:
        return bytes(5000)

    one, other = socket.socketpair()
    caller = Channel(one, identity={}, limits=Limits(frame=1000))
    callee = Channel(other, identity={"service": "Classifier", "replica": 1}, handler=handler)
    nursery.start_soon(callee.run)
    await nursery.start(caller.run)
    await lost(caller)
    await callee.closed.wait()
    assert "the limit is 1000" in str(callee.close_reason)


async def _all_events(peer: trio.SocketStream, calls: int = 0) -> list[Any]:
    """Return what the channel said until it ended; `calls` says how many calls it had to answer."""
    connection = Connection()
    for _ in range(calls):
        connection.send_call("api", {})
    events = []
    async for data in peer:
        connection.receive_data(data)
        while (event := connection.next_event()) is not None:
            events.append(event)
    return events


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
    await peer.send_all(HELLO + calls)
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
            peer.sendall(HELLO)
    async with trio.open_nursery() as connections:
        channel = await connect(path, nursery=connections, identity={"service": "Entry"})
        assert await channel.call("api", {"x": 1}) == {"x": 1}
        channel.close()
    nursery.cancel_scope.cancel()
