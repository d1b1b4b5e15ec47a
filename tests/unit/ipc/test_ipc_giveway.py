"""A lone caller lets the peer run before it parks, but never at the expense of its own process's other tasks."""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from svcd_ipc import giveway
from svcd_ipc.channel import Channel
from svcd_ipc.connection import Connection
from svcd_ipc.giveway import GiveWay
from svcd_ipc.messages import Call

if TYPE_CHECKING:
    from collections.abc import Callable


class Neighbour:
    """A peer that runs only while this process gives way, as one on the same core does. It echoes arguments."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._connection = Connection()
        self.answered = 0
        self.is_slow = False

    def say_hello(self) -> None:
        self._sock.sendall(b"".join(self._connection.send_hello({"service": "Echo"})))

    def run(self) -> None:
        try:
            self._connection.receive_data(self._sock.recv(65536))
        except BlockingIOError:
            return
        while (event := self._connection.next_event()) is not None:
            if isinstance(event, Call) and not self.is_slow:
                self.answered += 1
                self._sock.sendall(b"".join(self._connection.send_result(event.id, event.args)))


@pytest.fixture
def neighbour(monkeypatch: pytest.MonkeyPatch) -> Any:
    mine, its = socket.socketpair()
    its.setblocking(False)
    made = Neighbour(its)
    made.say_hello()
    monkeypatch.setattr(giveway, "sched_yield", made.run)
    with its:
        yield made, mine


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still, so that no giving way takes long."""
    monkeypatch.setattr(giveway, "perf_counter", lambda: 0.0)


async def test_a_lone_caller_gets_its_answer_from_a_neighbour(neighbour: Any, nursery: trio.Nursery) -> None:
    peer, sock = neighbour
    channel = Channel(sock, identity={})
    await nursery.start(channel.run)
    nursery.start_soon(_keep_running, peer.run)
    for number in range(100):
        assert await channel.call("echo", {"number": number}) == {"number": number}
    assert peer.answered == 100
    channel.close()


async def test_other_tasks_get_their_turns(neighbour: Any, nursery: trio.Nursery) -> None:
    peer, sock = neighbour
    channel = Channel(sock, identity={})
    await nursery.start(channel.run)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            peer.run()
            turns += 1
            await trio.lowlevel.checkpoint()

    nursery.start_soon(other)
    for number in range(400):
        await channel.call("echo", {"number": number})
    assert turns >= 400 / 9 - 2
    channel.close()


async def test_a_caller_in_a_loop_can_be_cancelled(neighbour: Any, nursery: trio.Nursery) -> None:
    peer, sock = neighbour
    channel = Channel(sock, identity={})
    await nursery.start(channel.run)
    nursery.start_soon(_keep_running, peer.run)
    with trio.CancelScope() as scope:
        for number in range(10_000):
            await channel.call("echo", {"number": number})
            if number == 20:
                scope.cancel()
    assert scope.cancelled_caught
    assert peer.answered == 21
    channel.close()


async def test_a_call_that_waits_at_a_neighbour_meets_its_deadline(neighbour: Any, nursery: trio.Nursery) -> None:
    peer, sock = neighbour
    channel = Channel(sock, identity={})
    await nursery.start(channel.run)
    peer.is_slow = True
    with trio.move_on_after(0.01) as scope:
        await channel.call("echo", {})
    assert scope.cancelled_caught
    channel.close()


async def _keep_running(run: Callable[[], None]) -> None:
    while True:
        run()
        await trio.lowlevel.checkpoint()


async def test_a_process_that_spins_finds_an_answer_that_takes_a_while(
    neighbour: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer, sock = neighbour
    looks = itertools.count(1)
    found = 0

    def let_it_run() -> None:
        nonlocal found
        if next(looks) % 5 == 0:
            before = peer.answered
            peer.run()
            found += peer.answered - before

    monkeypatch.setattr(giveway, "sched_yield", let_it_run)
    giveway.set_spin(10.0)
    try:
        channel = Channel(sock, identity={})
    finally:
        giveway.set_spin(0.0)
    await nursery.start(channel.run)
    nursery.start_soon(_keep_running, peer.run)
    for number in range(50):
        assert await channel.call("echo", {"number": number}) == {"number": number}
    assert found > 30
    channel.close()


def test_spinning_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.4, 0.9, 1.1))
    monkeypatch.setattr(giveway, "perf_counter", lambda: next(times))
    giveway.set_spin(1.0)
    try:
        way = GiveWay()
    finally:
        giveway.set_spin(0.0)
    way.give()
    assert [way.give_on() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("seconds", "longest"), [(0.0, 16), (0.0001, 4096)])
def test_giving_way_in_vain_is_tried_less_and_less_often(
    monkeypatch: pytest.MonkeyPatch, seconds: float, longest: int
) -> None:
    """Down to a limit that depends on whether somebody else had the core meanwhile."""
    times = itertools.count()
    monkeypatch.setattr(giveway, "perf_counter", lambda: next(times) * seconds)
    way = GiveWay()
    pauses = []
    for _ in range(20):
        way.give()
        way.note(has_helped=False)
        pauses.append(way.skip)
        way.skip = 0
    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-1] == pauses[-2] == longest


def test_success_makes_up_for_earlier_failures(clock: None) -> None:
    way = GiveWay()
    for _ in range(5):
        way.give()
        way.note(has_helped=False)
    way.skip = 0
    way.give()
    way.note(has_helped=True)
    assert way.skip == 0
    way.note(has_helped=False)
    assert way.skip == 2


def test_the_loop_gets_its_turn_after_some_successes(clock: None) -> None:
    way = GiveWay()
    for _ in range(7):
        way.give()
        way.note(has_helped=True)
        assert not way.is_loops_turn
    way.give()
    way.note(has_helped=True)
    assert way.is_loops_turn
    assert way.skip == 0, "which costs nobody a wake-up"


def test_an_answer_after_a_long_while_without_the_core_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.001))
    monkeypatch.setattr(giveway, "perf_counter", lambda: next(times))
    way = GiveWay()
    way.give()
    way.note(has_helped=True)
    assert way.skip == 2


def test_where_it_came_off_last_time_it_is_tried_twice(clock: None) -> None:
    way = GiveWay()
    way.give()
    assert not way.give_on(), "nothing is known of this peer"
    way.note(has_helped=True)
    way.give()
    assert way.give_on()
    assert not way.give_on()
