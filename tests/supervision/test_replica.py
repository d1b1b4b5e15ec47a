"""A replica's task against a scripted keeper, on a clock that jumps."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from scripted_keeper import World, make_ready, settle

from svcd.policy.lifecycle import Action, Happening, State
from svcd.policy.restart import BUDGET
from svcd.runtime.replica import KILL_LIMIT, LAST_WORDS, Replica
from svcd.values.exits import describe_exit
from svcd.values.orders import Exited

if TYPE_CHECKING:
    from trio.testing import MockClock


async def test_an_orderly_life(autojump_clock: MockClock, world: World) -> None:
    await make_ready(world)
    world.replica.post(Happening.STOP)
    await settle()
    assert world.replica.state is State.DRAINING
    world.replica.post(Happening.DRAINED)
    await world.replica.stopped.wait()
    assert world.names() == ["request", "spawn", "drain", "terminate", "release"]
    assert world.replica.generation == 1
    assert world.replica.restarts == 0


async def test_one_that_is_ended_for_a_reason_says_that_and_is_tried_again(
    autojump_clock: MockClock, world: World
) -> None:
    await make_ready(world)
    world.replica.end("over its memory of 2Gi: it had 3Gi")
    world.replica.end("over its memory of 2Gi: it had 4Gi")
    await settle()
    assert world.names()[-1] == "kill"
    assert (world.replica.state, world.replica.last_exit) == (State.BACKOFF, "over its memory of 2Gi: it had 3Gi")
    assert world.changes[-1].reason == "over its memory of 2Gi: it had 3Gi"
    await trio.sleep(60)
    assert world.replica.generation == 2
    world.exit(-signal.SIGSEGV)
    await settle()
    assert world.replica.last_exit == "killed by SIGSEGV"


async def test_a_replica_that_does_not_drain_and_ignores_sigterm_is_killed_at_its_limits(
    autojump_clock: MockClock, world: World
) -> None:
    world.dies_on_term = False
    await make_ready(world)
    world.replica.post(Happening.STOP)
    await world.replica.stopped.wait()
    assert world.orders[2:] == [(0, "drain"), (30, "terminate"), (35, "kill"), (35, "release")]
    assert [change.reason for change in world.changes if change.before == change.state] == [
        "calls still ran after its drain_timeout of 30 s; they are cut off",
        "not gone within its stop_timeout of 5 s; killed by SIGKILL",
    ]


async def test_a_process_that_outlives_sigkill_is_left_to_the_kernel_with_what_it_holds(
    autojump_clock: MockClock, world: World
) -> None:
    world.dies_on_term = False
    world.dies_on_kill = False
    await make_ready(world)
    world.replica.post(Happening.STOP)
    world.replica.post(Happening.DRAINED)
    await world.replica.stopped.wait()
    assert trio.current_time() - world.began == 5 + KILL_LIMIT
    assert world.names()[2:] == ["drain", "terminate", "kill"]
    assert world.changes[-2].reason.endswith("it sleeps uninterruptibly; left to the kernel")
    assert world.replica.is_abandoned


async def test_a_restart_waits_for_a_process_that_outlives_sigkill(autojump_clock: MockClock, world: World) -> None:
    world.dies_on_term = False
    world.dies_on_kill = False
    await make_ready(world)
    world.replica.post(Happening.RESTART)
    await trio.sleep(1000)
    assert (world.replica.state, world.names().count("spawn")) == (State.DRAINING, 1)
    assert world.replica.reason.endswith("it comes back when that ends")
    world.exit(-signal.SIGKILL)
    await settle()
    assert (world.replica.state, world.replica.generation) == (State.STARTING, 2)
    world.dies_on_term = True
    world.replica.post(Happening.STOP)


async def test_a_start_that_takes_too_long_is_killed_and_says_so(autojump_clock: MockClock, world: World) -> None:
    await trio.sleep(60.51)
    assert [order for order in world.orders if order[0] >= 60][:2] == [(60, "ask where"), (60.5, "kill")]
    assert world.replica.attempt.failure == "not ready within its start limit of 60 s"
    world.replica.post(Happening.STOP)


async def test_the_start_limit_begins_when_the_process_is_executed(autojump_clock: MockClock, world: World) -> None:
    """As docs/configuration.md has it. What holds the exec up is the machine's affair, and no killing ends it."""
    world.spawns_after = 1000.0
    world.exit(1)
    await trio.sleep(900)  # after the backoff
    assert (world.replica.state, world.replica.generation) == (State.STARTING, 2)
    assert "ask where" not in world.names()
    began = next(at for at, name in reversed(world.orders) if name == "spawn")
    await trio.sleep(1000)
    assert [(at - began, name) for at, name in world.orders if name == "ask where"] == [(1060, "ask where")]
    assert "not ready within its start limit of 60 s" in [change.reason for change in world.changes]
    world.replica.post(Happening.STOP)


async def test_a_process_that_becomes_ready_at_the_last_moment_is_let_live(
    autojump_clock: MockClock, world: World
) -> None:
    await trio.sleep(60.25)
    world.replica.post(Happening.READY)
    await trio.sleep(1000)
    assert world.names()[2:] == ["ask where"]
    assert world.replica.attempt.failure is None
    world.replica.post(Happening.STOP)
    world.replica.post(Happening.DRAINED)


async def test_the_start_limit_does_not_run_while_it_waits_for_dependencies(
    autojump_clock: MockClock, world: World
) -> None:
    world.replica.post(Happening.HELD)
    await trio.sleep(1000)
    assert world.replica.state is State.STARTING
    world.replica.post(Happening.BEGUN)
    await trio.sleep(59)
    assert "kill" not in world.names()
    await trio.sleep(1.51)
    assert "kill" in world.names()
    world.replica.post(Happening.STOP)


async def test_it_keeps_its_resources_until_it_is_given_up(autojump_clock: MockClock, world: World) -> None:
    for failure in range(BUDGET):
        await make_ready(world)
        assert "release" not in world.names()
        world.exit(1)
        await trio.sleep(0 if failure == BUDGET - 1 else 60)
    await settle()
    assert world.replica.state is State.FAILED
    assert world.names().count("release") == 1
    world.replica.post(Happening.STOP)


async def test_a_crash_is_followed_by_a_new_process_with_a_new_generation(
    autojump_clock: MockClock, world: World
) -> None:
    await make_ready(world)
    world.exit(-signal.SIGSEGV)
    await settle()
    assert world.replica.state is State.BACKOFF
    assert world.changes[-1].reason == "killed by SIGSEGV"
    assert world.changes[-1].last_lines == ("last words",)
    await trio.sleep(1)
    assert world.replica.state is State.STARTING
    assert world.replica.generation == 2
    assert world.replica.last_exit == "killed by SIGSEGV"
    world.replica.post(Happening.STOP)


async def test_no_new_process_before_the_old_tree_is_gone(autojump_clock: MockClock, world: World) -> None:
    await make_ready(world)
    world.replica.exited(Exited(world.replica.process_id, 1, 1, []))
    await trio.sleep(1000)
    assert world.replica.state is State.BACKOFF
    assert world.names().count("spawn") == 1
    world.replica.post(Happening.GONE)
    await trio.sleep(1)
    assert world.names().count("spawn") == 2
    world.replica.post(Happening.STOP)


async def test_the_budget_ends_in_failed_with_the_last_reason(autojump_clock: MockClock, world: World) -> None:
    for _ in range(BUDGET):
        assert world.replica.state is State.STARTING
        world.replica.attempt.failure = "init failed: ValueError: no weights"
        world.exit(1)
        await trio.sleep(60)
    assert world.replica.state is State.FAILED
    assert world.replica.reason == "5 failures in a row; last: init failed: ValueError: no weights"
    assert world.names()[-1] == "release"
    world.replica.post(Happening.STOP)
    await world.replica.stopped.wait()


async def test_a_spell_of_being_ready_renews_the_budget(autojump_clock: MockClock, world: World) -> None:
    for _ in range(3 * BUDGET):
        await make_ready(world)
        await trio.sleep(11)
        world.exit(1)
        await trio.sleep(1)
        assert world.replica.state is State.STARTING
    world.replica.post(Happening.STOP)


async def test_a_restart_ends_it_in_order_and_brings_it_back(autojump_clock: MockClock, world: World) -> None:
    await make_ready(world)
    world.replica.post(Happening.RESTART, "svcd restart")
    await settle()
    assert world.replica.state is State.DRAINING
    world.replica.post(Happening.DRAINED)
    await settle()
    assert (world.replica.state, world.replica.generation) == (State.STARTING, 2)
    assert world.names()[2:] == ["drain", "terminate", "request", "spawn"]
    assert [change.state for change in world.changes][-3:] == ["draining", "pending", "starting"]
    assert [change.generation for change in world.changes][-3:] == [1, 1, 2]
    world.replica.post(Happening.STOP)


async def test_a_restart_forgets_the_failures_of_a_failed_replica(autojump_clock: MockClock, world: World) -> None:
    for _ in range(BUDGET):
        world.exit(1)
        await trio.sleep(60)
    assert (world.replica.state, world.replica.failures) == (State.FAILED, BUDGET)
    assert [ending.generation for ending in world.replica.endings] == [1, 2, 3, 4, 5]
    world.replica.post(Happening.RESTART)
    await settle()
    assert (world.replica.state, world.replica.failures) == (State.STARTING, 0)
    world.replica.post(Happening.STOP)


async def test_a_stop_overrules_a_restart(autojump_clock: MockClock, world: World) -> None:
    await make_ready(world)
    world.replica.post(Happening.RESTART)
    world.replica.post(Happening.STOP)
    world.replica.post(Happening.RESTART)
    await settle()
    world.replica.post(Happening.DRAINED)
    await world.replica.stopped.wait()
    assert world.names()[-1] == "release"


async def test_one_in_backoff_says_when_it_is_tried_again_and_a_restart_does_not_wait(
    autojump_clock: MockClock, world: World
) -> None:
    await make_ready(world)
    world.exit(1)
    await settle()
    assert world.replica.state is State.BACKOFF
    assert world.replica.retry_at is not None
    world.replica.post(Happening.RESTART)
    await settle()
    assert (world.replica.state, world.replica.retry_at) == (State.STARTING, None)
    world.replica.post(Happening.STOP)


async def test_secrets_are_taken_out_of_reasons_and_last_lines(autojump_clock: MockClock, world: World) -> None:
    world.replica.secrets = frozenset({"hunter2", "hunter2-and-more", "x"})
    world.replica.attempt.failure = "init failed: the key hunter2-and-more is wrong, see https://me:pw@host/x"
    world.replica.exited(Exited(world.replica.process_id, 1, 1, ["key=hunter2"]))
    await settle()
    assert world.replica.reason == "init failed: the key (not shown) is wrong, see https://(not shown)@host/x"
    assert world.changes[-1].last_lines == ("key=(not shown)",)
    world.replica.post(Happening.GONE)
    world.replica.post(Happening.STOP)


async def test_a_process_that_loses_its_control_channel_has_a_moment_to_say_why_it_ends(
    autojump_clock: MockClock, world: World
) -> None:
    await make_ready(world)
    world.replica.post(Happening.LOST)
    await trio.sleep(LAST_WORDS / 2)
    assert "kill" not in world.names()
    world.exit(-signal.SIGSEGV)
    await settle()
    assert (world.replica.state, world.replica.reason) == (State.BACKOFF, "killed by SIGSEGV")
    world.replica.post(Happening.STOP)


@pytest.mark.parametrize("is_ready", [True, False])
async def test_a_process_that_lives_on_without_its_control_channel_is_killed(
    autojump_clock: MockClock, world: World, *, is_ready: bool
) -> None:
    if is_ready:
        await make_ready(world)
    world.replica.post(Happening.LOST)
    await trio.sleep(LAST_WORDS + 0.01)
    assert "kill" in world.names()
    assert (world.replica.state, world.replica.reason) == (State.BACKOFF, "its control channel ended, and it lived on")
    world.replica.post(Happening.STOP)


@pytest.mark.parametrize("moment", ["starting", "backoff", "failed"])
async def test_stop_ends_it_from_every_state(autojump_clock: MockClock, world: World, moment: str) -> None:
    if moment != "starting":
        for _ in range(1 if moment == "backoff" else BUDGET):
            world.exit(1)
            await trio.sleep(0 if moment == "backoff" else 60)
    await settle()
    world.replica.post(Happening.STOP)
    await world.replica.stopped.wait()
    assert world.replica.state is State.STOPPED


async def test_words_of_an_earlier_process_change_nothing(autojump_clock: MockClock, world: World) -> None:
    world.exit(1)
    world.replica.post(Happening.READY)
    await settle()
    assert world.replica.state is State.BACKOFF
    world.replica.post(Happening.STOP)


async def test_a_process_that_ends_well_before_it_connected_is_perhaps_no_python(
    autojump_clock: MockClock, world: World
) -> None:
    world.exit(0)
    await settle()
    told = "exited with status 0 before it connected: is /usr/bin/python3 a Python interpreter?"
    assert (world.replica.state, world.replica.reason) == (State.BACKOFF, told)
    await trio.sleep(60)
    world.replica.attempt.joined.set()
    world.exit(0)
    await settle()
    assert world.replica.reason == "exited with status 0"
    world.replica.post(Happening.STOP)


def test_it_knows_how_to_perform_every_action_of_the_table() -> None:
    assert set(Replica.ACTIONS) == set(Action)


def test_exits_are_described_in_words() -> None:
    assert describe_exit(3) == "exited with status 3"
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(-99) == "killed by signal 99"


async def test_its_repr_says_where_it_stands(autojump_clock: MockClock, world: World) -> None:
    assert repr(world.replica) == "<Replica Model/0#1 starting>"
    world.replica.post(Happening.STOP)
