"""The watch over pulses and the asking of hooks, on a clock that jumps: who is kept from callers, who is replaced."""

from __future__ import annotations

import signal
from dataclasses import replace
from math import inf
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from svcd.policy.lifecycle import Happening, State
from svcd.policy.restart import BUDGET
from svcd.policy.waiting import MOST
from svcd.runtime.liveness import LivenessWatch
from svcd.runtime.replica import LAST_WORDS, Replica
from svcd.values.orders import Exited
from svcd.values.pulse import Pulse
from svcd.values.scheduling import ThreadTimes
from svcd.values.specs import Probe, ServiceSpec
from svcd.worker.portal import Portal
from svcd.worker.probes import MOST_UNHEARD, READY, Hook
from svcd.worker.serve import LiveService
from svcd.worker.thread import ServiceThreads

if TYPE_CHECKING:
    from trio.testing import MockClock

    from svcd.values.events import Change

PROBE = Probe(period=1, timeout=2, threshold=3)


class World:
    """A replica that is ready, its pulse, and the watch; `story` is what became of it and when."""

    def __init__(self, nursery: trio.Nursery, probe: Probe) -> None:
        self.pulse: Pulse | None = Pulse(turned=inf)
        self.letter = "S"
        self.story: list[tuple[float, str]] = []
        self.reasons: list[str] = []
        self.asked_where = trio.Event()
        spec = ServiceSpec(name="Model", target="m:Model", python="python3", liveness=probe)
        self.replica = Replica(spec, 0, self, chance=lambda: 0.5)
        self.replica.begin()
        nursery.start_soon(self.replica.run)
        watch = LivenessWatch(
            lambda: [self.replica],
            lambda _: self.pulse,
            lambda _: self.letter,
            self.threads_of,
            clock=trio.current_time,
        )
        self.watch = watch
        self.threads: dict[int, ThreadTimes] = {}
        nursery.start_soon(watch.run)
        self.began = 0.0

    async def ready(self) -> World:
        self.replica.pid = 1
        self.replica.post(Happening.READY)
        await trio.sleep(10)
        assert self.replica.state is State.READY, "one that is well is left alone"
        self.story.clear()
        self.began = trio.current_time()
        return self

    def now(self, **numbers: float) -> None:
        """Set the pulse; instants are given as seconds from now."""
        self.pulse = replace_pulse(**numbers)

    def wait_for_a_processor(self) -> None:
        """Let its main thread be runnable from now on, and have no turn."""
        self.now(turned=0)
        self.threads = {self.replica.pid or 0: ThreadTimes(1.0, 0.0, 7, is_runnable=True)}

    def threads_of(self, pid: int, *, all_of_them: bool, with_state: bool) -> dict[int, ThreadTimes]:
        return {thread: times for thread, times in self.threads.items() if all_of_them or thread == pid}

    def note(self, what: str) -> None:
        self.story.append((round(trio.current_time() - self.began, 3), what))

    def request(self, replica: Replica) -> None:
        replica.post(Happening.PLACED)

    def release(self, replica: Replica) -> None: ...

    def spawn(self, replica: Replica) -> None: ...

    def terminate(self, replica: Replica) -> None: ...

    def drain(self, replica: Replica) -> None: ...

    def ask_where(self, replica: Replica) -> None:
        self.note("ask where")
        self.asked_where.set()

    def kill(self, replica: Replica) -> None:
        self.note("kill")
        replica.exited(Exited(replica.process_id, 1, -signal.SIGKILL, []))

    def changed(self, replica: Replica, change: Change) -> None:
        self.note(change.state)
        self.reasons.append(change.reason)


def replace_pulse(**numbers: float) -> Pulse:
    here = {name: trio.current_time() + seconds for name, seconds in numbers.items()}
    return Pulse(turned=here.pop("turned", inf))._replace(**here)


async def a_world(nursery: trio.Nursery, probe: Probe = PROBE) -> World:
    return await World(nursery, probe).ready()


def kept_away_at(world: World) -> float:
    return next(when for when, what in world.story if what == "unready")


async def test_an_idle_one_without_a_sign_of_life_is_replaced_with_its_stacks(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.now(turned=0)
    await trio.sleep(PROBE.timeout + PROBE.threshold * PROBE.period + LAST_WORDS + 0.1)
    kept_away = kept_away_at(world)
    assert kept_away <= PROBE.timeout + PROBE.threshold * PROBE.period
    assert world.story == [
        (kept_away, "unready"),
        (kept_away, "ask where"),
        (kept_away + LAST_WORDS, "kill"),
        (kept_away + LAST_WORDS, "backoff"),
    ]
    assert world.replica.last_exit == ("no sign of life for over 2 s: its event loop does not turn, or the GIL is held")


@pytest.mark.parametrize(("letter", "fate"), [("S", 60.0), ("t", inf), ("T", 0.0)])
async def test_one_with_calls_is_kept_until_their_deadlines(
    autojump_clock: MockClock, nursery: trio.Nursery, letter: str, fate: float
) -> None:
    """Unless a signal has stopped it, since that finishes nothing; a debugger is left alone for good."""
    world = await a_world(nursery)
    world.letter = letter
    world.now(turned=0, busy_until=60)
    await trio.sleep(100)
    killed = [when for when, what in world.story if what == "kill"]
    assert kept_away_at(world) <= 5
    assert len(killed) == (0 if fate == inf else 1)
    assert all(fate < when < fate + 7 for when in killed), killed


@pytest.mark.parametrize(("letter", "fate"), [("S", State.FAILED), ("T", State.READY)])
async def test_one_that_is_stopped_again_and_again_never_uses_up_its_budget(
    autojump_clock: MockClock, nursery: trio.Nursery, letter: str, fate: State
) -> None:
    """It has not failed of itself, as little as one that is killed."""
    world = await a_world(nursery)
    for _ in range(BUDGET):
        world.letter = letter
        world.now(turned=0)
        await trio.sleep(8)
        world.now()
        world.replica.post(Happening.GONE)
        await trio.sleep(10)
        world.replica.pid = 1
        world.replica.post(Happening.READY)
        await trio.testing.wait_all_tasks_blocked()
    assert world.replica.state is fate
    assert [what for _, what in world.story].count("kill") == BUDGET


async def test_one_that_comes_round_in_time_is_left_alone(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = await a_world(nursery)
    world.now(turned=0, busy_until=60)
    await trio.sleep(10)
    assert world.replica.state is State.UNREADY
    assert world.replica.reason.endswith("left alone while a call is within its deadline")
    world.now()
    await trio.sleep(PROBE.period + 0.1)
    assert [what for _, what in world.story] == ["unready", "ready"]


async def test_one_that_comes_round_while_its_stacks_are_written_is_left_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.now(turned=0)
    with trio.fail_after(10):
        await world.asked_where.wait()
    world.replica.post(Happening.READY)
    world.now()
    await trio.sleep(10)
    assert world.replica.state is State.READY
    assert "kill" not in [what for _, what in world.story]


@pytest.mark.parametrize("what", ["side_turned", "stuck_since"])
async def test_an_asyncio_loop_and_threads_are_watched_too(
    autojump_clock: MockClock, nursery: trio.Nursery, what: str
) -> None:
    world = await a_world(nursery)
    world.now(**{what: 0.0})
    await trio.sleep(6)
    assert [what for _, what in world.story][-1] == "backoff"
    assert world.replica.last_exit
    assert ("asyncio" if what == "side_turned" else "stuck") in world.replica.last_exit


async def test_what_the_service_says_is_fatal_waits_for_its_calls(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.now(busy_until=20)
    world.replica.attempt.fatal = "__is_alive__ returned False"
    world.replica.ail("Model.__is_alive__", world.replica.attempt.fatal)
    await trio.sleep(15)
    assert [what for _, what in world.story] == ["unready"]
    await trio.sleep(10)
    assert world.replica.last_exit == "__is_alive__ returned False"


async def test_one_without_a_pulse_is_not_judged(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = await a_world(nursery)
    world.pulse = None
    await trio.sleep(100)
    assert world.story == []


async def test_one_that_waits_for_a_processor_is_left_alone_and_named(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.wait_for_a_processor()
    await trio.sleep(40)
    assert world.story == []
    assert 30 < world.watch.starved[world.replica.name] <= 40
    world.threads = {world.replica.pid or 0: ThreadTimes(1.1, 40.0, 8)}
    world.now()
    await trio.sleep(31)
    assert world.watch.starved == {}


async def test_one_that_waited_and_then_sleeps_is_replaced_and_its_wait_told(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.wait_for_a_processor()
    await trio.sleep(12)
    world.threads = {world.replica.pid or 0: ThreadTimes(1.1, 12.0, 8)}
    await trio.sleep(PROBE.timeout + PROBE.threshold * PROBE.period + LAST_WORDS + 0.1)
    assert world.replica.last_exit == (
        "no sign of life for over 2 s, besides over 10 s of waiting for a processor: its event loop does not turn,"
        " or the GIL is held"
    )


async def test_an_endless_loop_that_is_given_little_is_replaced_in_the_end(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    world = await a_world(nursery)
    world.wait_for_a_processor()
    await trio.sleep(MOST + PROBE.timeout + PROBE.threshold * PROBE.period + LAST_WORDS + 1)
    assert [what for _, what in world.story].count("kill") == 1


async def test_one_that_is_looked_at_for_the_first_time_when_it_is_late_has_as_long_as_any(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It may have waited for a processor ever since it was ready: that is known from the first look on."""
    world = World(nursery, PROBE)
    world.now(turned=-10 * PROBE.timeout)
    world.threads = {1: ThreadTimes(1.0, 0.0, 7, is_runnable=True)}
    world.replica.pid = 1
    world.replica.post(Happening.READY)
    await trio.sleep(10)
    assert world.story[-1][1] == "ready"
    world.story.clear()
    world.threads = {1: ThreadTimes(1.1, 10.0, 8)}  # It sleeps.
    world.began = trio.current_time()
    await trio.sleep(PROBE.timeout + PROBE.threshold * PROBE.period + LAST_WORDS + 0.1)
    assert [what for _, what in world.story] == ["unready", "ask where", "kill", "backoff"]


async def test_time_in_which_the_watch_itself_stood_still_does_not_count(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As while a virtual machine is paused: its clocks go on, and its processes do not."""
    world = await a_world(nursery, replace(PROBE, threshold=1))
    world.now(turned=0)
    autojump_clock.jump(3600)
    await trio.sleep(PROBE.timeout)
    assert world.story == []
    await trio.sleep(PROBE.timeout + PROBE.period + LAST_WORDS)
    assert [what for _, what in world.story] == ["unready", "ask where", "kill", "backoff"]


async def test_liveness_period(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = await a_world(nursery, Probe(period=30, timeout=2, threshold=2))
    world.now(turned=0)
    await trio.sleep(100)
    assert 30 < kept_away_at(world) <= 62


async def test_liveness_timeout(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = await a_world(nursery, Probe(period=1, timeout=50, threshold=1))
    world.now(turned=0)
    await trio.sleep(100)
    assert 50 < kept_away_at(world) <= 51


async def test_liveness_threshold(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    world = await a_world(nursery, Probe(period=1, timeout=2, threshold=40))
    world.now(turned=0)
    await trio.sleep(100)
    assert 41 < kept_away_at(world) <= 42


class Service:
    """Its hook answers what it is told to, after so many seconds."""

    answers: object = True
    takes = 0.0

    async def __is_ready__(self) -> object:
        await trio.sleep(self.takes)
        if isinstance(self.answers, Exception):
            raise self.answers
        return self.answers


class Asked:
    """A hook that is asked on and on, and what was told of it and when."""

    def __init__(self, nursery: trio.Nursery, probe: Probe) -> None:
        live = LiveService("Model", ServiceThreads("Model", Portal(nursery)), max_concurrency=1)
        self.service = live.instance = Service()
        self.began = trio.current_time()
        self.waits = 0.0
        self.told: list[tuple[float, str]] = []
        self.waited = 0.0
        nursery.start_soon(Hook(live, READY, probe, waited=self.wait).run, self.tell)

    def wait(self) -> float:
        """As if it had waited so long again since it was asked."""
        self.waits += self.waited
        return self.waits

    async def tell(self, service: str, hook: str, trouble: str) -> None:
        assert (service, hook) == ("Model", READY)
        self.told.append((round(trio.current_time() - self.began, 3), trouble))


async def test_readiness_period(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    asked = Asked(nursery, Probe(period=10, timeout=2, threshold=1))
    asked.service.answers = False
    await trio.sleep(11)
    asked.service.answers = True
    await trio.sleep(20)
    assert asked.told == [(10, "__is_ready__ returned False"), (20, "")]


async def test_readiness_timeout(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    asked = Asked(nursery, Probe(period=1, timeout=5, threshold=1))
    asked.service.takes = 4.9
    await trio.sleep(30)
    assert asked.told == []
    asked.service.takes = 5.1
    await trio.sleep(30)
    assert [trouble for _, trouble in asked.told] == ["__is_ready__ did not return within 5 s"]


async def test_readiness_threshold(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    asked = Asked(nursery, Probe(period=1, timeout=2, threshold=4))
    asked.service.answers = ValueError("no cache")
    await trio.sleep(3.5)
    assert asked.told == []
    await trio.sleep(1)
    assert asked.told == [(4, "__is_ready__ raised ValueError: no cache")]


async def test_a_hook_that_had_no_processor_to_answer_with_has_not_failed(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """But for one that goes on like that: then it may hang for another reason."""
    asked = Asked(nursery, Probe(period=1, timeout=5, threshold=2))
    asked.service.takes, asked.waited = inf, 4.0
    await trio.sleep(MOST_UNHEARD * 6)
    assert asked.told == []
    await trio.sleep(3 * 6)
    assert [trouble for _, trouble in asked.told] == ["__is_ready__ did not return within 5 s"]


async def test_a_hook_that_forgets_to_return_is_told_so(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    asked = Asked(nursery, replace(PROBE, threshold=1))
    asked.service.answers = None
    await trio.sleep(1.5)
    assert asked.told == [(1, "__is_ready__ returned None; it is to return True or False")]
