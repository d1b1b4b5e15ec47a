"""Deadlines, on trio's own clock: both sides keep them, and each hop inherits what is left."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from svcd_ipc.channel import IncomingCall, call_context
from svcd_ipc.connection import Connection
from svcd_ipc.errors import DeadlineExceeded, from_wire
from svcd_ipc.messages import Error, Result

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Sleeper:
    """Sleeps as long as it is told, and records when it was cancelled."""

    def __init__(self) -> None:
        self.cancelled_at: list[float] = []
        self.started = 0

    async def __call__(self, call: IncomingCall) -> Any:
        self.started += 1
        try:
            await trio.sleep(call.args["seconds"])
        except trio.Cancelled:
            self.cancelled_at.append(trio.current_time())
            raise
        return call.remaining()


def clocked(**options: Any) -> dict[str, Any]:
    return {"clock": trio.current_time, **options}


async def test_a_call_within_its_deadline(join: Any, autojump_clock: Any) -> None:
    caller, _ = await join(Sleeper(), **clocked())
    left = await caller.call("sleep", {"seconds": 3}, deadline=trio.current_time() + 10)
    assert left == pytest.approx(7)
    assert await caller.call("sleep", {"seconds": 3}) == inf


async def test_both_sides_give_up_at_the_deadline(join: Any, autojump_clock: Any) -> None:
    sleeper = Sleeper()
    caller, callee = await join(sleeper, **clocked())
    deadline = trio.current_time() + 5
    with pytest.raises(DeadlineExceeded, match=r"Classifier/1\.sleep"):
        await caller.call("sleep", {"seconds": 60}, deadline=deadline)
    assert trio.current_time() == pytest.approx(deadline)
    await wait_all_tasks_blocked()
    assert sleeper.cancelled_at == [pytest.approx(deadline)]
    assert (caller.in_flight, callee.serving) == (0, 0)
    assert await caller.call("sleep", {"seconds": 1}) == inf


async def test_each_call_ends_at_its_own_deadline(join: Any, autojump_clock: Any) -> None:
    caller, _ = await join(Sleeper(), **clocked())
    start = trio.current_time()
    ended: dict[int, float] = {}

    async def call(seconds: int) -> None:
        with pytest.raises(DeadlineExceeded):
            await caller.call("sleep", {"seconds": 1000}, deadline=start + seconds)
        ended[seconds] = trio.current_time() - start

    async with trio.open_nursery() as nursery:
        for seconds in (7, 3, 50, 3, 1, 20):
            nursery.start_soon(call, seconds)
    assert ended == {seconds: pytest.approx(seconds) for seconds in (1, 3, 7, 20, 50)}


async def test_the_caller_gives_up_on_a_callee_that_does_not_answer(raw_peer: Any, autojump_clock: Any) -> None:
    channel, peer = raw_peer(None, clock=trio.current_time)
    await peer.send_all(b"".join(Connection().send_hello({})))
    await wait_all_tasks_blocked()
    deadline = trio.current_time() + 5
    with pytest.raises(DeadlineExceeded):
        await channel.call("api", {}, deadline=deadline)
    assert trio.current_time() == pytest.approx(deadline)


async def test_a_lone_caller_that_reads_for_itself_gives_up_too(join: Any, autojump_clock: Any) -> None:
    caller, _ = await join(Sleeper(), **clocked())
    for _ in range(3):
        await caller.call("sleep", {"seconds": 0})
    deadline = trio.current_time() + 5
    with pytest.raises(DeadlineExceeded):
        await caller.call("sleep", {"seconds": 60}, deadline=deadline)
    assert trio.current_time() == pytest.approx(deadline)
    assert await caller.call("sleep", {"seconds": 1}) == inf


async def test_a_deadline_that_has_passed_sends_nothing(join: Any, autojump_clock: Any) -> None:
    sleeper = Sleeper()
    caller, _ = await join(sleeper, **clocked())
    with pytest.raises(DeadlineExceeded, match="before the call was sent"):
        await caller.call("sleep", {"seconds": 0}, deadline=trio.current_time())
    assert sleeper.started == 0


async def test_a_call_whose_deadline_passed_on_the_way_is_never_started(raw_peer: Any, autojump_clock: Any) -> None:
    sleeper = Sleeper()
    _, stream = raw_peer(sleeper, clock=trio.current_time)
    peer = Connection()
    late = peer.send_call("sleep", {"seconds": 0}, deadline=trio.current_time() - 0.001)[1]
    fine = peer.send_call("sleep", {"seconds": 0}, deadline=trio.current_time() + 1)[1]
    await stream.send_all(b"".join([*peer.send_hello({}), *late, *fine]))
    events: list[Any] = []
    while len(events) < 3:
        peer.receive_data(await stream.receive_some())
        while (event := peer.next_event()) is not None:
            events.append(event)
    assert isinstance(events[1], Error)
    assert isinstance(from_wire(events[1].code, events[1].message, {}), DeadlineExceeded)
    assert isinstance(events[2], Result)
    assert sleeper.started == 1


async def test_three_hops_share_one_deadline(join: Any, autojump_clock: Any) -> None:
    remaining: list[float] = []

    async def third(call: IncomingCall) -> Any:
        remaining.append(call.remaining())
        await trio.sleep(1000)

    async def second(call: IncomingCall) -> Any:
        remaining.append(call.remaining())
        await trio.sleep(1)
        return await to_third.call("api", {})

    async def first(call: IncomingCall) -> Any:
        remaining.append(call.remaining())
        await trio.sleep(2)
        return await to_second.call("api", {}, deadline=trio.current_time() + 500)

    to_third, at_third = await join(third, **clocked())
    to_second, _ = await join(second, **clocked())
    to_first, _ = await join(first, **clocked())
    start = trio.current_time()
    with pytest.raises(DeadlineExceeded):
        await to_first.call("api", {}, deadline=start + 10)
    assert trio.current_time() == pytest.approx(start + 10)
    assert remaining == [pytest.approx(10), pytest.approx(8), pytest.approx(7)]
    await wait_all_tasks_blocked()
    assert at_third.serving == 0


async def test_a_call_context_hands_its_deadline_and_nothing_is_longer(join: Any, autojump_clock: Any) -> None:
    caller, _ = await join(Sleeper(), **clocked())
    now = trio.current_time()
    outer = IncomingCall("api", {}, now + 4, None, 0, caller.peer)
    with call_context(outer):
        assert await caller.call("sleep", {"seconds": 0}) == pytest.approx(4)
        assert await caller.call("sleep", {"seconds": 0}, deadline=now + 9) == pytest.approx(4)
        assert await caller.call("sleep", {"seconds": 0}, deadline=now + 2) == pytest.approx(2)


async def test_a_trio_scope_is_told_to_the_callee_and_ends_the_caller_as_trio_does(
    join: Any, autojump_clock: Any
) -> None:
    sleeper = Sleeper()
    caller, _ = await join(sleeper, **clocked())
    with trio.move_on_after(5) as scope:
        assert await caller.call("sleep", {"seconds": 1}) == pytest.approx(4)
        await caller.call("sleep", {"seconds": 60})
    assert scope.cancelled_caught
    with pytest.raises(trio.TooSlowError):
        with trio.fail_after(5):
            await caller.call("sleep", {"seconds": 60})
    await wait_all_tasks_blocked()
    assert len(sleeper.cancelled_at) == 2


async def test_a_deadline_that_the_callee_raises_for_itself_is_passed_on(join: Any, autojump_clock: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        raise DeadlineExceeded("Features: no answer")

    caller, _ = await join(handler, **clocked())
    start = trio.current_time()
    with trio.fail_after(100):
        with pytest.raises(DeadlineExceeded, match="Features: no answer"):
            await caller.call("api", {})
    assert trio.current_time() == start


async def test_a_stream_ends_at_the_deadline_after_its_items(join: Any, autojump_clock: Any) -> None:
    closed_at = []

    async def handler(_call: IncomingCall) -> Any:
        async def items() -> AsyncIterator[int]:
            try:
                for n in range(100):
                    yield n
                    await trio.sleep(1)
            finally:
                closed_at.append(trio.current_time())

        return items()

    caller, _ = await join(handler, **clocked())
    deadline = trio.current_time() + 3.5
    stream = caller.stream("tokens", {}, deadline=deadline)
    assert [await anext(stream) for _ in range(4)] == [0, 1, 2, 3]
    with pytest.raises(DeadlineExceeded):
        await anext(stream)
    assert trio.current_time() == pytest.approx(deadline)
    await wait_all_tasks_blocked()
    assert closed_at == [pytest.approx(deadline)]


async def test_a_peer_that_says_no_hello_is_given_up(raw_peer: Any, autojump_clock: Any) -> None:
    channel, _peer = raw_peer(None)
    await channel.closed.wait()
    assert "no hello from the peer within 10 s" in str(channel.close_reason)


async def test_a_scope_that_is_over_before_anything_is_sent_ends_the_caller_itself(
    join: Any, autojump_clock: Any
) -> None:
    sleeper = Sleeper()
    caller, _ = await join(sleeper, **clocked())
    with trio.move_on_after(1) as scope:
        autojump_clock.jump(2)  # as code does that takes its time without waiting
        await caller.call("sleep", {"seconds": 3})
    assert scope.cancelled_caught
    assert sleeper.started == 0
