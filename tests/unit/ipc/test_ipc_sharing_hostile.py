"""Peers that break the rules of sharing: their connection ends with an error that names them, and nothing else."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest
import trio
import trio.testing
from conversation import raw

from svcd_ipc import handover, mapping
from svcd_ipc.buffers import LEND
from svcd_ipc.channel import Channel, Limits
from svcd_ipc.connection import Connection
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.memory import Memory
from svcd_ipc.messages import Call, Error, Event, Hello
from svcd_ipc.sharing import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 1 << 20
ARENA, TAKEN, RETURN = 15, 16, 17
MINE, YOURS = 0, 1


def shared(side: int, slot: int, start: int, size: int) -> msgpack.ExtType:
    """Return a reference to an array of bytes, as it is on the wire."""
    meta = f"|u1|{size}|"
    padded = meta.ljust(-(-len(meta) // 16) * 16)
    return msgpack.ExtType(8, padded.encode() + REFERENCE.pack(side, slot, start, size))


class Hostile:
    """The other end of a channel, played by hand, with a memory of its own to hand over."""

    def __init__(self, sock: socket.socket, channel: Channel, memory: Memory) -> None:
        self.sock = sock
        self.channel = channel
        self.memory = memory
        """Of the channel."""
        self.descriptor = os.memfd_create("hostile", os.MFD_ALLOW_SEALING)
        os.ftruncate(self.descriptor, SIZE)
        self.connection = Connection()
        self.lifelines = os.pipe()

    def seal(self, seals: int = mapping.SEALS) -> None:
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, seals)

    def hand_over(self, *descriptors: int, size: int = SIZE) -> None:
        """Say hello, and hand over what is to be an arena."""
        self.sock.sendall(b"".join(self.connection.send_hello({"service": "Evil"}, ["memory"])))
        socket.send_fds(self.sock, [raw(ARENA, size)], list(descriptors))

    async def shake(self) -> None:
        """Do everything as it should be done, up to the first call."""
        self.seal()
        self.hand_over(self.descriptor, self.lifelines[1])
        self.sock.sendall(raw(TAKEN, None))
        while not self.channel._caller.is_open:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)

    async def why_ended(self) -> str:
        """Return what the channel says about its end, after seeing that it told this side the same."""
        await self.channel.closed.wait()
        reason = self.channel.close_reason
        assert isinstance(reason, RemoteProtocolError)
        said = self.heard()[-1]
        assert isinstance(said, Error)
        assert said.message == str(reason)
        return str(reason)

    def heard(self) -> list[Event]:
        """Return all that was said to this side; what it refers to is left out."""
        self.sock.setblocking(False)
        data = b""
        try:
            while more := self.sock.recv(1 << 16):
                data += more
        except BlockingIOError:
            pass
        self.connection.receive_data(data)
        self.connection._checks.clear()
        found = []
        while (event := self.connection.next_event()) is not None:
            found.append(event)
        return found

    def close(self) -> None:
        self.sock.close()
        for descriptor in (self.descriptor, *self.lifelines):
            os.close(descriptor)


@pytest.fixture
def peer(nursery: trio.Nursery) -> Iterator[Hostile]:
    """Return the hostile end of a channel that runs."""

    async def handler(call: Any) -> Any:
        return call.args

    ours, theirs = socket.socketpair()
    memory = Memory(SIZE)
    channel = Channel(
        ours,
        identity={"service": "Classifier"},
        handler=handler,
        speaks_first=False,
        memory=memory,
        limits=Limits(hello=0.5),
    )
    nursery.start_soon(channel.run)
    hostile = Hostile(theirs, channel, memory)
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count is enough
    yield hostile
    memory.close()
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208 - as above
    hostile.close()


async def test_memory_that_can_still_shrink(peer: Hostile) -> None:
    peer.seal(mapping.SEALS & ~fcntl.F_SEAL_SHRINK)
    peer.hand_over(peer.descriptor, peer.lifelines[1])
    assert "cannot be trusted: its memory is not sealed against shrinking" in await peer.why_ended()


async def test_memory_that_is_smaller_than_announced(peer: Hostile) -> None:
    peer.seal()
    peer.hand_over(peer.descriptor, peer.lifelines[1], size=2 * SIZE)
    assert f"its memory has {SIZE} bytes, and not the {2 * SIZE} it announced" in await peer.why_ended()


async def test_a_descriptor_of_something_else(peer: Hostile) -> None:
    peer.hand_over(peer.lifelines[0], peer.lifelines[1])
    assert "its memory is no memfd" in await peer.why_ended()


@pytest.mark.parametrize("count", [0, 1])
async def test_fewer_than_two_descriptors_are_not_taken(peer: Hostile, count: int) -> None:
    peer.seal()
    peer.hand_over(*[peer.descriptor, *peer.lifelines][:count])
    peer.sock.sendall(raw(TAKEN, None) + raw(1, 1, "echo", {"x": shared(MINE, 1, 0, LEND)}, None, None, 0, 0))
    assert await peer.why_ended() == "the peer referred to memory that it has not handed over"


async def test_an_arena_that_does_not_come(peer: Hostile) -> None:
    peer.sock.sendall(b"".join(peer.connection.send_hello({"service": "Evil"}, ["memory"])))
    assert await peer.why_ended() == "no arena from the peer within 0.5 s"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (raw(ARENA, SIZE), "the peer sent arena when it was not its turn to"),
        (raw(TAKEN, None), "the peer sent taken when it was not its turn to"),
        (raw(RETURN, [7]), "the peer gave back slot 7, which it does not hold"),
        (raw(RETURN, [-1]), "malformed return: -1 is no count"),
        (raw(RETURN, 1), "malformed return: expected a list of slots"),
        (
            raw(1, 1, "echo", {"x": shared(MINE, 1, SIZE - 4096, 8192)}, None, None, 0, 0),
            f"the peer referred to bytes {SIZE - 4096} to {SIZE + 4096} of its arena, which has {SIZE}",
        ),
        (
            raw(1, 1, "echo", {"x": shared(MINE, 1, 2**64 - 1, 2**64 - 1)}, None, None, 0, 0),
            "of its arena, which has",
        ),
        (
            raw(1, 1, "echo", {"x": shared(YOURS, 1, 0, LEND)}, None, None, 0, 0),
            "the peer referred to slot 1, which it does not hold",
        ),
        (raw(1, 1, "echo", {"x": shared(2, 1, 0, LEND)}, None, None, 0, 0), "a reference to memory that is none"),
        (raw(1, 1, "echo", {"x": msgpack.ExtType(8, b"")}, None, None, 0, 0), "a reference to memory that is none"),
    ],
)
async def test_what_may_not_be_said(peer: Hostile, said: bytes, reason: str) -> None:
    await peer.shake()
    peer.sock.sendall(said)
    assert reason in await peer.why_ended()


async def test_a_reference_beyond_the_slot_that_was_lent(peer: Hostile) -> None:
    await peer.shake()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_and_fail, peer.channel, {"x": np.ones(LEND, "u1")})
        await trio.testing.wait_all_tasks_blocked()
        assert peer.memory.used == LEND
        peer.sock.sendall(raw(2, 1, shared(YOURS, 1, 0, LEND + 1), 0, 0))
        assert "are not within slot 1" in await peer.why_ended()


async def test_an_array_of_another_size_than_its_memory_is_the_fault_of_that_call(peer: Hostile) -> None:
    await peer.shake()
    bad = shared(MINE, 1, 0, LEND)
    bad = msgpack.ExtType(8, bad.data.replace(b"|u1|", b"<f8|"))
    peer.sock.sendall(raw(1, 1, "echo", {"x": bad, "y": shared(MINE, 2, 0, LEND)}, None, None, 0, 0))
    await trio.testing.wait_all_tasks_blocked()
    assert not peer.channel.closed.is_set()
    heard = peer.heard()
    assert any(isinstance(event, Error) and f"with {LEND} bytes of data" in event.message for event in heard)
    assert peer.channel._handover._sharing is not None
    assert peer.channel._handover._sharing.borrowed == 0  # both are given back
    peer.channel.close()
    await peer.channel.closed.wait()


async def call_and_fail(channel: Channel, args: dict[str, Any]) -> None:
    with pytest.raises(Exception, match="lost"):
        await channel.call("api", args)


async def test_memory_is_for_the_same_user_only(monkeypatch: pytest.MonkeyPatch, join: Any) -> None:
    memory = Memory(SIZE)
    monkeypatch.setattr(handover, "peer_user", lambda _: os.geteuid() + 1)

    async def handler(call: Any) -> Any:
        return call.args

    caller, callee = await join(handler, caller={"memory": memory}, memory=memory)
    assert caller.peer.capabilities == callee.peer.capabilities == []
    x = np.ones(2 * LEND)
    assert ((await caller.call("echo", {"x": x}))["x"] == x).all()
    assert memory.used == 0


def test_messages_about_memory_without_the_capability() -> None:
    for said in (raw(ARENA, 0), raw(TAKEN, None), raw(RETURN, [1])):
        connection = Connection()
        connection.receive_data(b"".join(Connection().send_hello({})) + said)
        assert isinstance(connection.next_event(), Hello)
        with pytest.raises(RemoteProtocolError, match="the peer"):
            connection.next_event()


def test_a_reference_without_the_capability_is_the_fault_of_its_call() -> None:
    connection = Connection()
    call = raw(1, 1, "echo", {"x": shared(MINE, 1, 0, 5)}, None, None, 0, 0)
    connection.receive_data(b"".join(Connection().send_hello({})) + call)
    connection.next_event()
    event = connection.next_event()
    assert isinstance(event, Call)
    assert event.fault == "ext type 8 is not registered here"
