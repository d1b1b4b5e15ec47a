"""The link between daemon and keeper: garbage on it, and a daemon that does not read."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgpack
import pytest

from leftovers import assert_none_left, new_mark, snapshot
from svcd.host.keeper_process import KEEPER_ARGV
from svcd.values import orders
from svcd_ipc.frames import FrameReader, pack

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class RawKeeper:
    """A keeper whose link is in the test's own hands; the test is no subreaper."""

    guard: subprocess.Popen[bytes]
    link: socket.socket
    env: dict[str, str]

    def order(self, order: orders.Order) -> None:
        self.link.sendall(pack(msgpack.packb(orders.pack(order))))

    def events(self, count: int) -> list[orders.Order | orders.Event]:
        reader, found = FrameReader(), []
        while len(found) < count:
            data = self.link.recv(65536)
            assert data, found
            reader.feed(data)
            while (body := reader.next_frame()) is not None:
                found.append(orders.unpack(msgpack.unpackb(body)))
        return found

    def sleeper(self, name: str) -> None:
        self.order(orders.Spawn(name, ["sleep", "1000"], self.env, "/", b"", os.devnull, []))


@pytest.fixture
def raw() -> Iterator[RawKeeper]:
    mark = new_mark()
    link, theirs = socket.socketpair()
    link.settimeout(20)
    with theirs:
        guard = subprocess.Popen(
            [*KEEPER_ARGV, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **mark},
            stderr=subprocess.PIPE,
        )
    with guard, link:
        yield RawKeeper(guard, link, {"PATH": os.environ["PATH"], **mark})
        known = snapshot(guard.pid)
        link.close()
        guard.wait(20)
    assert_none_left(mark, known)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pack(b"\xc1"), "cannot be read"),
        (pack(msgpack.packb(["Dance", 1])), "not an order or event"),
        (pack(msgpack.packb(["Kill"])), "not an order or event"),
        (pack(msgpack.packb(["Gone", "x"])), "Gone is not an order"),
        (pack(msgpack.packb(7)), "not an order or event"),
        (pack(msgpack.packb({})), "not an order or event"),
        (struct.pack("<I", 0xFFFFFFFF), "the limit is"),
        (struct.pack("<I", 0), "empty frame"),
    ],
)
def test_garbage_ends_all_with_a_message(raw: RawKeeper, data: bytes, message: str) -> None:
    raw.sleeper("Sleep/0#1")
    raw.events(1)
    raw.link.sendall(data)
    assert raw.guard.wait(20) == 1
    assert raw.guard.stderr is not None
    text = raw.guard.stderr.read().decode()
    assert message in text
    assert "Traceback" not in text


def test_half_a_frame_and_then_the_end(raw: RawKeeper) -> None:
    raw.sleeper("Sleep/0#1")
    raw.events(1)
    raw.link.sendall(struct.pack("<I", 100) + b"x")
    raw.link.shutdown(socket.SHUT_WR)
    assert raw.guard.wait(20) == 1


def test_a_daemon_that_does_not_read_holds_up_nothing(raw: RawKeeper) -> None:
    """Thousands of events wait in the keeper while it goes on taking orders; then all arrive, in order."""
    count = 20_000
    for number in range(count):
        raw.order(orders.Spawn(f"Bad/{number}", ["true"], {}, "/", b"", os.devnull, ["no such socket"]))
    failed = raw.events(count)
    assert [event.id for event in failed if isinstance(event, orders.SpawnFailed)] == [
        f"Bad/{number}" for number in range(count)
    ]


def test_python_dash_m_takes_descriptor_three() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        start = f"import os, sys; os.dup2({theirs.fileno()}, 3); os.execv(sys.executable, {list(KEEPER_ARGV)})"
        guard = subprocess.Popen([sys.executable, "-c", start], pass_fds=[theirs.fileno()])
        theirs.close()
        ours.sendall(pack(msgpack.packb(orders.pack(orders.Shutdown()))))
        assert guard.wait(20) == 0
