"""Peers that break the rules are told why and dropped, and nobody else notices; refusals."""

from __future__ import annotations

import resource
import socket
from typing import Any

import pytest
import trio
from conversation import ROGUE_HELLO, raw
from ipc_handlers import echo, lost
from trio.testing import wait_all_tasks_blocked

from svcd_ipc import frames
from svcd_ipc.channel import Channel, Hello, IncomingCall, Limits
from svcd_ipc.connection import Connection
from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError, ReplicaLost
from svcd_ipc.messages import Error, Result
from svcd_ipc.outbox import HIGH_WATER

# Peers that break the rules


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "the limit is"),
        (b"\x80\x81\x82" + b"\xff" * 100, "the limit is"),
        (bytes(4), "empty frame"),
        (raw(0, "svcd", 99, {}, []), "speaks version 99"),
        (raw(1, 1, "api", {}, None, None, 0, 0), "not hello"),
        (ROGUE_HELLO + ROGUE_HELLO, "hello twice"),
        (ROGUE_HELLO + raw(42), "unknown kind 42"),
        (ROGUE_HELLO + frames.pack(b"\xc1\xc1"), "not msgpack"),
        (ROGUE_HELLO + raw(2, 7, None, 0, 0), "call 7, which is not open"),
        (ROGUE_HELLO + (2**31).to_bytes(4, "little"), f"{2**31} bytes; the limit is"),
        (ROGUE_HELLO + raw(1, 1, "api", {}, None, None, 0, 0)[:-1] + b"\xc1", "not msgpack"),
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
    await peer.send_all((ROGUE_HELLO + raw(1, 1, "echo", {"x": "y" * 50}, None, None, 0, 0))[: len(ROGUE_HELLO) + cut])
    await peer.aclose()
    await channel.closed.wait()
    assert isinstance(channel.close_reason, RemoteProtocolError)
    assert "ended the connection after" in str(channel.close_reason)


async def test_an_announced_giant_allocates_nothing(raw_peer: Any) -> None:
    limit = frames.DEFAULT_LIMIT
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(20):
        channel, peer = raw_peer(echo)
        await peer.send_all(ROGUE_HELLO + limit.to_bytes(4, "little") + b"x")
        await wait_all_tasks_blocked()
        assert not channel.closed.is_set()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < limit / 1024


async def test_calls_before_a_violation_are_still_answered(raw_peer: Any) -> None:
    channel, peer = raw_peer(echo)
    await peer.send_all(ROGUE_HELLO + raw(1, 1, "echo", {"n": 1}, None, None, 0, 0) + raw(42))
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
