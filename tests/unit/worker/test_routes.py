"""Which replica gets a call, who waits, and what is sent again: a Route against real sockets."""

from __future__ import annotations

import gc
import time
import weakref
from typing import TYPE_CHECKING

import pytest
import trio
from route_rig import LIMIT, Answers, FakeReplica, open_box, until

from svcd_ipc.calls import IncomingCall, call_context, current_call
from svcd_ipc.errors import (
    CallError,
    DeadlineExceeded,
    EncodeError,
    InvalidArgument,
    Overloaded,
    RemoteError,
    ReplicaLost,
    ServiceUnavailable,
)
from svcd_ipc.messages import Hello
from svcd_ipc.server import listen

if TYPE_CHECKING:
    from pathlib import Path


class Held:
    """Something in the frame of a caller."""


async def test_the_least_loaded_replica_is_chosen(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        first, second = await box.add(), await box.add()
        box.tell(first, second)
        answers = Answers(box.nursery)
        answers.ask("a", box.route, "hold")
        await first.arrived.wait()
        assert {await box.route.call("who", {}) for _ in range(5)} == {"S/1"}
        answers.ask("b", box.route, "hold")
        answers.ask("c", box.route, "hold")
        await until(lambda: first.running + second.running == 3)
        assert sorted([first.running, second.running]) == [1, 2]
        assert repr(box.route) == "<Route S ready [2 replicas, 3 in flight, 0 waiting]>"


async def test_a_busy_replica_passes_the_call_on(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        full, free = await box.add(most=0), await box.add()
        box.tell(full, free)
        assert [await box.route.call("who", {}) for _ in range(4)] == ["S/1"] * 4
        assert full.calls == []


async def test_calls_that_no_replica_takes_wait_in_line(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add(most=1)
        box.tell(replica)
        answers = Answers(box.nursery)
        answers.ask("first", box.route, "hold")
        await replica.arrived.wait()
        for label in range(5):
            answers.ask(label, box.route, "who")
            await until(lambda expected=label + 1: box.route.waiting == expected)
        replica.release.set()
        assert [label for label, _ in await answers.until(6)] == ["first", 0, 1, 2, 3, 4]
        assert box.route.waiting == 0


async def test_the_line_is_bounded(tmp_path: Path) -> None:
    async with open_box(tmp_path, max_queue=2) as box:
        answers = Answers(box.nursery)
        for label in range(2):
            answers.ask(label, box.route, "who")
        await until(lambda: box.route.waiting == 2)
        with pytest.raises(Overloaded, match=r"S\.who: 2 calls of this process wait already"):
            await box.route.call("who", {})
        box.tell(await box.add())
        assert sorted(await answers.until(2)) == [(0, "S/0"), (1, "S/0")]


async def test_a_waiting_call_has_its_deadline(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        deadline = box.route.deadline_of(0.05)
        with pytest.raises(DeadlineExceeded, match=r"S\.who: no replica of S was ready in time \(starting\)"):
            await box.route.call("who", {}, deadline=deadline)
        assert time.monotonic() >= deadline
        replica = await box.add(most=0)
        box.tell(replica)
        with pytest.raises(DeadlineExceeded, match=r"no replica of S had room in time \(1 busy"):
            await box.route.call("who", {}, deadline=box.route.deadline_of(0.5))  # it has to say so
        assert box.route.waiting == 0


async def test_a_failed_service_is_said_at_once_to_all(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        answers = Answers(box.nursery)
        answers.ask("waiting", box.route, "who")
        await until(lambda: box.route.waiting == 1)
        box.tell(state="failed", reason="it crashed 5 times")
        with pytest.raises(ServiceUnavailable, match=r"^S\.who: S is failed: it crashed 5 times$"):
            await box.route.call("who", {})
        [(_, error)] = await answers.until(1)
        assert isinstance(error, ServiceUnavailable)
        box.client.update({})
        with pytest.raises(ServiceUnavailable, match="the daemon names no such service"):
            await box.route.call("who", {})


async def test_a_cancelled_call_leaves_the_line(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        with trio.move_on_after(0.02):
            await box.route.call("who", {})
        assert box.route.waiting == 0
        box.tell(await box.add())
        assert await box.route.call("who", {}) == "S/0"


async def test_a_replica_that_cannot_be_reached_costs_nothing(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        gone = FakeReplica("S/7", tmp_path / "gone.sock", 1)
        there = await box.add()
        box.tell(gone, there)
        assert [await box.route.call("who", {}) for _ in range(3)] == ["S/0"] * 3


async def test_what_never_left_is_sent_again_and_what_may_have_run_is_not(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        first, second = await box.add(), await box.add()
        box.tell(first)
        answers = Answers(box.nursery)
        answers.ask("lost", box.route, "hold")
        await first.arrived.wait()
        box.tell(first, second)
        first.scope.cancel()
        [(_, error)] = await answers.until(1)
        # The dying replica may still say that it stops; either way the caller learns that the call may have run.
        assert isinstance(error, ReplicaLost | ServiceUnavailable)
        await until(lambda: box.route.replicas["S/0"].is_gone)
        assert [await box.route.call("who", {}) for _ in range(3)] == ["S/1"] * 3
        assert second.calls == [("who", 0)] * 3


async def test_idempotent_calls_are_sent_again_as_often_as_allowed(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        first, second = await box.add(), await box.add()
        box.tell(first)
        answers = Answers(box.nursery)
        answers.ask("call", box.route, "hold", retries=1)
        await first.arrived.wait()
        box.tell(first, second)
        first.channels[0]._sock.shutdown(2)  # as a killed process: no last words
        await second.arrived.wait()
        assert second.calls == [("hold", 1)]
        second.channels[0]._sock.shutdown(2)
        [(_, error)] = await answers.until(1)
        assert isinstance(error, ReplicaLost)
        assert str(error) == "S.hold: S/1 was lost while the call may have been running"


@pytest.mark.parametrize(("api", "kind"), [("unavailable", ServiceUnavailable), ("lost", ReplicaLost)])
async def test_errors_of_the_callee_are_not_taken_for_the_routes_own(api: str, kind: type, tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add()
        box.tell(replica)
        with pytest.raises(kind):
            await box.route.call(api, {}, retries=5)
        assert replica.calls == [(api, 0)]
        with pytest.raises(RemoteError, match="nonsense"):
            await box.route.call("nonsense", {})


async def test_what_a_failed_call_held_is_free_at_once(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add()
        box.tell(replica)
        held = weakref.WeakSet[Held]()

        async def fail(api: str) -> str:
            argument = Held()
            held.add(argument)
            try:
                await box.route.call(api, {})
            except CallError as error:
                return type(error).__name__
            raise AssertionError(argument)

        gc.disable()
        try:
            assert [await fail(api) for api in ("nonsense", "lost")] == ["RemoteError", "ReplicaLost"]
            await until(lambda: not held)
        finally:
            gc.enable()


async def test_an_argument_that_cannot_travel_leaves_nothing_behind(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add(most=1)
        box.tell(replica)
        with pytest.raises(EncodeError, match=r"args\.x"):
            await box.route.call("who", {"x": {1, 2}})
        assert await box.route.call("who", {}) == "S/0"


async def test_room_that_another_caller_makes_is_found(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box, open_box(tmp_path) as other:
        replica = await box.add(most=1)
        other.client.update({"S": {"state": "ready", "reason": None, "replicas": [[replica.id, str(replica.path)]]}})
        box.tell(replica)
        answers = Answers(box.nursery)
        answers.ask("other", other.route, "hold")
        await replica.arrived.wait()
        answers.ask("mine", box.route, "who")
        await until(lambda: box.route.waiting == 1)
        replica.release.set()
        assert sorted(await answers.until(2)) == [("mine", "S/0"), ("other", "S/0")]


async def test_many_callers_beyond_capacity_all_get_through(tmp_path: Path) -> None:
    async with open_box(tmp_path, max_queue=1000) as box:
        box.tell(await box.add(most=3), await box.add(most=2))
        answers = Answers(box.nursery)
        for label in range(300):
            answers.ask(label, box.route, "who")
        got = await answers.until(300)
        assert {answer for _, answer in got} <= {"S/0", "S/1"}


async def test_an_unlisted_replica_finishes_what_it_has(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        old, new = await box.add(), await box.add()
        box.tell(old)
        answers = Answers(box.nursery)
        answers.ask("held", box.route, "hold")
        await old.arrived.wait()
        box.tell(new)
        assert await box.route.call("who", {}) == "S/1"
        [channel] = old.channels
        assert not channel.closed.is_set()
        old.release.set()
        assert await answers.until(1) == [("held", "S/0")]
        await channel.closed.wait()


async def test_a_replica_that_never_answers_hello_ends_with_the_deadline(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        mute = FakeReplica("S/0", tmp_path / "mute.sock", 1)
        with listen(mute.path):
            box.tell(mute)
            with pytest.raises(DeadlineExceeded, match=r"S\.who: S/0 did not take the connection in time"):
                await box.route.call("who", {}, deadline=box.route.deadline_of(0.05))


async def test_streams_go_to_a_replica_that_takes_them_and_end_when_left(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        full, free = await box.add(most=0), await box.add()
        box.tell(full, free)
        stream = box.route.stream("items", {})
        assert [await stream.__anext__() for _ in range(50)] == ["S/1"] * 50
        assert box.route.replicas["S/1"].in_flight == 1
        await stream.aclose()
        await free.release.wait()
        assert box.route.replicas["S/1"].in_flight == 0
        with pytest.raises(StopAsyncIteration):
            await stream.__anext__()


async def test_a_stream_left_by_break_ends_too(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add()
        box.tell(replica)
        async for item in box.route.stream("items", {}):
            assert item == "S/0"
            break
        await replica.release.wait()


async def test_a_stream_of_a_lost_replica_names_it(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        replica = await box.add()
        box.tell(replica)
        stream = box.route.stream("items", {})
        await stream.__anext__()
        replica.channels[0]._sock.shutdown(2)
        with pytest.raises(ReplicaLost, match=r"S\.items: S/0 was lost"):
            _ = [item async for item in stream]
        assert box.route.replicas["S/0"].in_flight == 0


async def test_a_plain_call_of_a_stream_is_refused(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        box.tell(await box.add())
        with pytest.raises(InvalidArgument, match="answers with a stream"):
            await box.route.call("items", {})


async def test_deadline_and_trace_are_inherited(tmp_path: Path) -> None:
    async with open_box(tmp_path) as box:
        now = time.monotonic()
        served = IncomingCall("x", {}, now + 5, "00-trace", 0, Hello(1, {}))
        assert box.route.deadline_of() == pytest.approx(now + LIMIT, abs=1)
        with call_context(served):
            assert current_call() is served
            assert box.route.deadline_of() == now + 5
            assert box.route.deadline_of(100) == now + 5
            assert box.route.deadline_of(1) == pytest.approx(now + 1, abs=1)
