"""A task that is alone waits in the kernel, and for no longer than the event loop would have waited."""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from svcd_ipc.channel import Channel, IncomingCall
from svcd_ipc.connection import Connection
from svcd_ipc.kernelwait import Heard, KernelWait
from svcd_ipc.loopstate import LoopState, of_this_run

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Held:
    """A connection whose call runs in place."""

    fd: int
    is_crowded: bool = False


async def alone() -> None:
    """Return in a pass of the loop in which no other task runs."""
    loop = of_this_run()
    await trio.lowlevel.checkpoint()
    while not loop.is_alone:
        await trio.lowlevel.checkpoint()


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    mine, peers = socket.socketpair()
    mine.setblocking(False)
    with mine, peers:
        yield mine, peers


@pytest.fixture
async def wait(ends: tuple[socket.socket, socket.socket]) -> Any:
    made = KernelWait(ends[0].fileno(), of_this_run())
    await alone()
    yield made
    made.close()


async def test_the_loop_of_the_installed_trio_is_one_that_it_knows() -> None:
    assert of_this_run().epoll >= 0
    assert of_this_run() is of_this_run()


def test_it_leaves_loops_alone_that_do_not_live_by_the_system_clock() -> None:
    async def look() -> tuple[int, bool]:
        loop = of_this_run()
        await trio.lowlevel.checkpoint()
        return loop.epoll, loop.is_alone

    assert trio.run(look, clock=trio.testing.MockClock(autojump_threshold=0)) == (-1, False)


async def test_nobody_is_alone_where_the_loop_is_not_known(ends: Any) -> None:
    with pytest.raises(AttributeError):
        LoopState().start(object())
    ends[1].send(b"x")
    assert KernelWait(ends[0].fileno(), LoopState()).sleep() is Heard.ELSE


async def test_bytes_end_a_wait(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    assert wait.sleep() is Heard.BYTES
    assert not wait.has_others


async def test_bytes_that_come_meanwhile_end_it(wait: KernelWait, ends: Any) -> None:
    sender = threading.Thread(target=lambda: (os.sched_yield(), ends[1].send(b"x")))
    sender.start()
    heard = wait.sleep()
    while heard is Heard.READ:  # the socket's first edge, which is none of the peer's
        heard = wait.sleep()
    sender.join()
    assert heard is Heard.BYTES


async def test_the_peers_end_ends_it(wait: KernelWait, ends: Any) -> None:
    ends[1].close()
    assert wait.sleep() is Heard.BYTES


async def test_the_peers_reading_ends_it(wait: KernelWait, ends: Any) -> None:
    mine, peer = ends
    mine.send(b"a question")
    assert wait.sleep() is Heard.READ  # of a new epoll object: whether it can be written to is news
    with trio.move_on_after(0.01):  # noqa: ASYNC100 - it is the deadline that is seen, and no checkpoint
        assert wait.sleep() is Heard.ELSE
    await alone()
    peer.recv(100)
    assert wait.sleep() is Heard.READ


async def test_reading_that_did_not_help_is_left_unheard_ever_longer(wait: KernelWait, ends: Any) -> None:
    def unheard() -> int:
        count = 0
        while True:
            ends[1].send(b"x")  # ends each wait at once
            heard = wait.sleep()
            ends[0].recv(1)
            assert heard is Heard.BYTES
            if wait._reads is not None:
                return count
            count += 1

    assert unheard() == 0
    counts = []
    for _ in range(5):
        wait.note(has_helped=False)
        counts.append(unheard())
    assert counts == [2, 4, 8, 16, 32]
    wait.note(has_helped=True)
    wait.note(has_helped=False)
    assert unheard() == 2


async def test_it_does_not_begin_while_another_task_can_run(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.lowlevel.checkpoint)
        assert wait.sleep() is Heard.ELSE


async def test_it_does_not_begin_in_a_pass_with_others(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    heard = []

    async def look() -> None:
        heard.append(wait.sleep())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        nursery.start_soon(look)
    assert heard == [Heard.ELSE, Heard.ELSE]


async def test_it_does_not_begin_where_the_task_is_cancelled(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    with trio.CancelScope() as scope:  # noqa: ASYNC100 - it is the scope that is seen, and no checkpoint
        scope.cancel()
        assert wait.sleep() is Heard.ELSE


async def test_it_does_not_begin_past_a_deadline_of_any_task(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    with trio.CancelScope() as scope:  # noqa: ASYNC100 - it is the scope that is seen, and no checkpoint
        scope.deadline = trio.current_time() - 1
        assert wait.sleep() is Heard.ELSE


class Late(trio.abc.Instrument):
    """Lets a deadline pass between the loop's look at its descriptors and its look at the time."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def after_io_wait(self, timeout: float) -> None:
        del timeout
        while trio.current_time() <= self._deadline:
            pass


async def test_it_does_not_begin_where_a_deadline_passed_as_the_pass_began(
    wait: KernelWait, nursery: trio.Nursery
) -> None:
    deadline = trio.current_time() + 0.05
    nursery.start_soon(trio.sleep_until, deadline)
    await alone()
    late = Late(deadline)
    trio.lowlevel.add_instrument(late)
    await trio.lowlevel.checkpoint()
    trio.lowlevel.remove_instrument(late)
    assert wait.sleep() is Heard.ELSE
    assert not wait.has_others  # it has not slept: the other task may come after this one
    await trio.lowlevel.checkpoint()
    await alone()
    assert of_this_run().idle_for() > 0


async def test_a_deadline_of_another_task_ends_it(wait: KernelWait, nursery: trio.Nursery) -> None:
    woken = trio.Event()

    async def timer() -> None:
        await trio.sleep(0.01)
        woken.set()

    nursery.start_soon(timer)
    await alone()
    while wait.sleep() is not Heard.ELSE:
        pass
    await woken.wait()


async def test_the_word_of_a_thread_ends_it(wait: KernelWait) -> None:
    woken = trio.Event()
    token = trio.lowlevel.current_trio_token()
    thread = threading.Thread(target=lambda: token.run_sync_soon(woken.set))
    thread.start()
    while wait.sleep() is Heard.READ:
        pass
    thread.join()
    await woken.wait()


async def test_bytes_for_another_task_end_it(wait: KernelWait, nursery: trio.Nursery) -> None:
    one, other = socket.socketpair()
    with one, other:
        nursery.start_soon(trio.lowlevel.wait_readable, one)
        await alone()
        other.send(b"x")
        while (heard := wait.sleep()) is Heard.READ:
            pass
        assert heard is Heard.ELSE
        assert wait.has_others
        await trio.testing.wait_all_tasks_blocked()


async def test_a_holders_bytes_end_it_and_a_crowd_behind_it_lets_none_begin(wait: KernelWait, ends: Any) -> None:
    one, other = socket.socketpair()
    holders = of_this_run().holders
    with one, other:
        held = Held(one.fileno())
        holders.append(held)
        try:
            other.send(b"x")
            while (heard := wait.sleep()) is Heard.READ:
                pass
            assert heard is Heard.ELSE
            assert wait.has_others
            one.recv(1)
            ends[1].send(b"x")
            assert wait.sleep() is Heard.BYTES
            assert not wait.has_others
            held.is_crowded = True
            assert wait.sleep() is Heard.ELSE
        finally:
            holders.remove(held)


async def test_it_does_without_the_peers_reading_where_no_descriptor_is_left(wait: KernelWait, ends: Any) -> None:
    ends[1].send(b"x")
    with no_descriptors_left():
        assert wait.sleep() is Heard.BYTES
    assert wait._reads is None


async def test_few_connections_hear_of_the_peers_reading() -> None:
    loop = of_this_run()
    await alone()
    pairs = [socket.socketpair() for _ in range(20)]
    waits = [KernelWait(mine.fileno(), loop) for mine, _ in pairs]
    for (_, peer), wait in zip(pairs, waits, strict=True):
        peer.send(b"x")
        assert wait.sleep() is Heard.BYTES
    assert len(loop.hearers) == 16
    assert [wait._reads is not None for wait in waits] == [False] * 4 + [True] * 16  # those that began last
    for pair, wait in zip(pairs, waits, strict=True):
        wait.close()
        wait.close()
        for end in pair:
            end.close()
    assert not loop.hearers


@contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ECHO = """
import socket, sys
from svcd_ipc.connection import Connection
from svcd_ipc.messages import Call
sock = socket.socket(fileno=int(sys.argv[1]))
connection = Connection()
sock.sendall(b"".join(connection.send_hello({"service": "Echo"})))
while data := sock.recv(65536):
    connection.receive_data(data)
    while (event := connection.next_event()) is not None:
        if isinstance(event, Call):
            sock.sendall(b"".join(connection.send_result(event.id, event.args)))
"""


async def test_calls_one_after_the_other_leave_their_turn_to_other_tasks(nursery: trio.Nursery) -> None:
    """To one that waits for bytes and to one that waits for a time, with a peer that is a process of its own."""
    has_slept = trio.Event()

    async def sleep() -> None:
        await trio.sleep(0.001)
        has_slept.set()

    mine, its = socket.socketpair()
    command = [sys.executable, "-c", ECHO, str(its.fileno())]
    with its:
        await nursery.start(partial(trio.run_process, command, pass_fds=[its.fileno()]))
    channel = Channel(mine, identity={})
    await nursery.start(channel.run)
    readable = trio.Event()
    one, other = socket.socketpair()

    async def read() -> None:
        await trio.lowlevel.wait_readable(one)
        readable.set()

    with one, other:
        nursery.start_soon(read)
        nursery.start_soon(sleep)
        for number in range(100_000):
            assert await channel.call("echo", {"n": number}) == {"n": number}
            if number == 10:
                other.send(b"x")
            if readable.is_set() and has_slept.is_set():
                break
        else:
            pytest.fail("the other tasks never ran")
        channel.close()
        await channel.closed.wait()


async def test_a_peer_that_always_has_more_to_say_leaves_their_turn_to_other_tasks(nursery: trio.Nursery) -> None:
    talker, most = Connection(), 2400
    said = talker.send_hello({"service": "Talker"})
    calls = [talker.send_call("note", {"text": "x" * 100}, None, None, 0, 0, ())[1] for _ in range(most)]
    one, other = socket.socketpair()
    count, counts, is_all = 0, [], trio.Event()

    async def note(_call: IncomingCall) -> None:
        nonlocal count
        count += 1
        if count == 700:  # in the second of five reads
            other.send(b"x")
        elif count == most:
            is_all.set()

    async def read() -> None:
        await trio.lowlevel.wait_readable(one)
        counts.append(count)

    mine, its = socket.socketpair()
    with one, other, its:
        its.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        its.setblocking(False)
        its.sendall(b"".join(piece for chunks in (said, *calls) for piece in chunks))
        nursery.start_soon(read)
        channel = Channel(mine, identity={}, handler=note)
        await nursery.start(channel.run)
        await is_all.wait()
        channel.close()
        await channel.closed.wait()
    assert counts
    assert counts[0] < most
