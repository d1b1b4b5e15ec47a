"""A thread that waits for its calls in the loop's place: what it does, what ends that, and that nothing is lost."""

from __future__ import annotations

import os
import random
import resource
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import trio
from deputy_rig import LIMIT, Peer, opened

from svcd.worker.handback import HandBack
from svcd_ipc import loopstate
from svcd_ipc.messages import Error

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time never ends a turn, unless a test says so: what should end it has to."""
    monkeypatch.setattr(loopstate, "_LONGEST", LIMIT)
    monkeypatch.setattr("svcd_ipc.deputy._LONGEST", LIMIT)


async def test_calls_are_answered_with_no_turn_of_the_loop() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> tuple[list[Any], int, bool]:
            peer.warm_up()
            before = rig.passes.count
            answers = [peer.call("double", x=x) for x in range(200)]
            return answers, rig.passes.count - before, peer.call("stood_in")

        answers, passes, is_still = await rig.connected(script)
        assert answers == [2 * x for x in range(200)]
        assert (passes, is_still) == (0, True)
        await rig.until_nothing_runs()
        assert (rig.live.taken, rig.threads.pending, rig.threads.stuck) == (0, 0, 0)


@pytest.mark.parametrize(
    ("api", "args", "answer"),
    [
        ("fail", {}, "remote"),
        ("leave", {}, "remote"),
        ("cancelled", {}, "remote"),
        ("wrong", {}, "bad_result"),
        ("double", {"x": "no number"}, "invalid"),
        ("doubel", {}, "unknown_api"),
        ("run_in_trio", {}, False),
        ("back", {"x": 1}, 2),
        ("quick", {"x": 1}, 2),
        ("slow", {"x": 1}, 2),
    ],
)
async def test_every_sort_of_call_is_answered_as_ever(api: str, args: dict[str, Any], answer: Any) -> None:
    async with opened() as rig:

        def script(peer: Peer) -> list[Any]:
            first = peer.call(api, **args)
            peer.warm_up()
            return [first, *(peer.call(api, **args) for _ in range(20)), peer.call("double", x=4)]

        assert await rig.connected(script) == [answer] * 21 + [8]
        await rig.until_nothing_runs()


async def test_a_stop_iteration_is_no_value() -> None:
    """One that is raised before there is anything to await: by what stands for an `async def`, and by a `def`."""

    def stop(x: int) -> Any:
        raise StopIteration(x)

    async with opened() as rig:
        rig.live.apis["quick"].method = rig.live.apis["double"].method = stop

        def script(peer: Peer) -> set[str]:
            answers = {peer.call("quick", x=1), peer.call("double", x=1)}
            peer.warm_up()
            return answers | {peer.call("double", x=1), peer.call("quick", x=1)}

        assert await rig.connected(script) == {"remote"}


async def test_arguments_are_let_go_of_before_the_answer_is_made() -> None:
    """So that the answer itself gives back what they show of the caller's memory."""
    async with opened() as rig:

        def script(peer: Peer) -> list[float]:
            first = [peer.call("first", a=np.ones(9))]
            peer.warm_up()
            return first + [peer.call("first", a=np.full(9, float(x))) for x in range(5)]

        assert await rig.connected(script) == [1, 0, 1, 2, 3, 4]
        assert not any(rig.held)


async def test_what_takes_a_call_apart_may_not_block_the_loop_it_stands_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the loop itself: it would wait for the loop, which waits for it to let go."""
    async with opened() as rig:
        schema = rig.live.apis["double"].schema
        validate, seen = schema.validate, []

        def look(args: dict[str, Any]) -> dict[str, Any]:
            seen.append((rig.threads.portal.on_loop, threading.current_thread() is threading.main_thread()))
            return validate(args)

        monkeypatch.setattr(schema, "validate", look)

        def script(peer: Peer) -> int:
            peer.warm_up()
            return peer.call("double", x=1)

        assert await rig.connected(script) == 2
        assert seen == [(True, False)]


async def test_a_peer_that_always_has_more_to_say_does_not_keep_the_loop_from_its_turn() -> None:
    async with opened() as rig:
        rounds, token, is_enough = 200, trio.lowlevel.current_trio_token(), threading.Event()

        def script(peer: Peer) -> int:
            babble = peer.babble()
            peer.warm_up()
            for sent in range(rounds):
                if is_enough.is_set():
                    return sent
                peer.say(babble)
                if sent == 10:
                    token.run_sync_soon(is_enough.set)
            return rounds

        assert await rig.connected(script) < rounds


async def test_a_large_result_is_the_loops_to_send() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> Any:
            peer.warm_up()
            return peer.call("large")

        assert np.array_equal(await rig.connected(script), np.ones(2_000_000))


async def test_calls_that_come_together_are_all_answered() -> None:
    async with opened(count=2) as rig:

        def script(peer: Peer) -> list[Any]:
            peer.warm_up()
            answers = []
            for size in range(1, 30):
                asked = [peer.ask("double" if each % 3 else "quick", x=3) for each in range(size)]
                answers += [peer.answer(number) in (6, 4) for number in asked]
            return answers

        assert all(await rig.connected(script))


async def test_a_call_is_cancelled_while_its_thread_runs_it() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> tuple[Any, tuple[int, int]]:
            peer.warm_up()
            number = peer.ask("hold_and_call")
            assert rig.blocks.begun.wait(LIMIT)
            peer.cancel(number)
            quick = peer.call("quick", x=1)  # it is read by the loop, behind the cancel
            held = rig.live.taken, rig.threads.stuck
            rig.blocks.gate.set()
            return quick, held

        assert await rig.connected(script) == (2, (1, 1))
        await rig.until_nothing_runs()
        assert (rig.blocks.seen, rig.threads.stuck) == (["cancelled"], 0)


async def test_a_deadline_passes_while_its_thread_runs_it() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> tuple[Any, int]:
            peer.warm_up()
            answer = peer.call("hold", 0.05)
            taken = rig.live.taken
            rig.blocks.gate.set()
            return answer, taken

        assert await rig.connected(script) == ("deadline", 1)
        await rig.until_nothing_runs()
        assert rig.threads.stuck == 0


async def test_a_call_without_end_is_answered_once_it_ends() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> Any:
            peer.warm_up()
            number = peer.ask("hold")
            assert rig.blocks.begun.wait(LIMIT)
            rig.threads.portal.run(trio.lowlevel.checkpoint)  # the loop takes the call over
            rig.blocks.gate.set()
            return peer.answer(number), [peer.call("double", x=x) for x in range(50)]

        assert await rig.connected(script) == ("held", [2 * x for x in range(50)])


async def test_other_tasks_and_their_times_are_not_held_up() -> None:
    async with opened() as rig:
        woken = threading.Event()

        async def timer() -> None:
            await trio.sleep(0.001)
            woken.set()

        def script(peer: Peer) -> None:
            peer.warm_up()
            rig.threads.portal.token.run_sync_soon(rig.nursery.start_soon, timer)
            assert woken.wait(LIMIT)  # while nobody calls
            woken.clear()
            peer.warm_up()
            number = peer.ask("hold")
            assert rig.blocks.begun.wait(LIMIT)
            rig.threads.portal.token.run_sync_soon(rig.nursery.start_soon, timer)
            assert woken.wait(LIMIT)  # while a call runs
            rig.blocks.gate.set()
            assert peer.answer(number) == "held"

        await rig.connected(script)


async def test_other_connections_are_not_held_up() -> None:
    async with opened() as rig:
        connected = threading.Event()

        def holding(peer: Peer) -> Any:
            peer.warm_up()
            number = peer.ask("hold")
            connected.set()
            return peer.answer(number)

        def other(peer: Peer) -> Any:
            assert connected.wait(LIMIT)
            assert rig.blocks.begun.wait(LIMIT)
            answers = [peer.call("quick", x=x) for x in range(20)]
            rig.blocks.gate.set()
            return answers

        got: dict[str, Any] = {}

        async def keep(name: str, script: Callable[[Peer], Any]) -> None:
            got[name] = await rig.connected(script)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(keep, "holding", holding)
            nursery.start_soon(keep, "other", other)
        assert got == {"holding": "held", "other": [x + 1 for x in range(20)]}


async def test_the_peers_end_is_noticed_while_a_thread_waits_for_it() -> None:
    async with opened() as rig:
        await rig.connected(Peer.warm_up)
        await rig.channels[0].closed.wait()


async def test_the_peers_end_is_noticed_while_its_call_runs() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> None:
            peer.warm_up()
            peer.ask("hold")
            assert rig.blocks.begun.wait(LIMIT)

        await rig.connected(script)
        await rig.channels[0].closed.wait()
        assert rig.live.taken == 1
        rig.blocks.gate.set()
        await rig.until_nothing_runs()
        assert rig.threads.stuck == 0


async def test_hostile_bytes_end_the_connection_alone() -> None:
    async with opened() as rig:

        def script(peer: Peer) -> None:
            peer.warm_up()
            peer._sock.sendall(b"\xff" * 100)
            assert isinstance(peer._receive(), Error)  # why it ends
            with pytest.raises((EOFError, ConnectionError)):
                peer._receive()

        await rig.connected(script)
        await rig.channels[0].closed.wait()
        assert await rig.connected(lambda peer: peer.call("double", x=1)) == 2


async def test_without_descriptors_the_loop_reads_as_ever() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with opened() as rig:

        def script(peer: Peer) -> list[Any]:
            peer.call("double", x=1)
            free = os.open(os.devnull, os.O_RDONLY)
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
            try:
                return [peer.call("stood_in") for _ in range(20)]
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

        assert await rig.connected(script) == [False] * 20


async def test_turns_that_come_to_nothing_are_left_out_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HandBack, "is_worth_it", lambda _: True)
    async with opened() as rig:

        def script(peer: Peer) -> int:
            turns = 0
            for _ in range(200):
                for _ in range(4):
                    turns += peer.call("stood_in")
                peer.call("slow", x=1)
            return turns

        assert await rig.connected(script) < 40


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_comes_between_every_call_has_its_own_answer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three peers, threads that stand in at every chance, turns that end at any moment."""
    monkeypatch.setattr(loopstate, "_LONGEST", 0.001)
    monkeypatch.setattr("svcd.worker.thread._STREAK", 0)
    monkeypatch.setattr("svcd_ipc.deputy._LONGEST_PAUSE", 1)
    calls: list[Callable[[Peer, random.Random], bool]] = [
        lambda peer, _: peer.call("double", x=7) == 14,
        lambda peer, _: peer.call("double", x=8) == 16,
        lambda peer, _: peer.call("quick", x=7) == 8,
        lambda peer, _: peer.call("slow", x=7) == 8,
        lambda peer, _: peer.call("back", x=7) == 8,
        lambda peer, _: peer.call("fail") == "remote",
        lambda peer, dice: peer.call("sleep", lasting=dice.random() / 300) < 1,
        lambda peer, dice: (
            peer.call("sleep", dice.random() / 300, lasting=dice.random() / 300)
            in ("deadline", pytest.approx(0, abs=1))
        ),
        lambda peer, dice: peer.cancel(peer.ask("sleep", lasting=dice.random() / 300)) is None,
        lambda peer, _: [peer.answer(each) for each in [peer.ask("double", x=x) for x in range(5)]] == [0, 2, 4, 6, 8],
    ]
    async with opened(count=2) as rig:

        def script(visit: str, peer: Peer) -> None:
            dice = random.Random(f"{seed} {visit}")  # noqa: S311 - it keeps no secret
            for _ in range(60):
                assert dice.choice(calls)(peer, dice)
            for _ in range(dice.randrange(3)):  # It goes away while they run.
                peer.ask("sleep", lasting=dice.random() / 300)

        async def talk(number: int) -> None:
            for visit in range(5):
                await rig.connected(partial(script, f"{number} {visit}"))

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(talk, number)
        for channel in rig.channels:
            await channel.closed.wait()
        await rig.until_nothing_runs()
        assert rig.threads.stuck == 0
