"""What a silence is excused for: against every schedule of a thread, and at the looks that make a difference."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.liveness import beat_of, is_late, is_suspect, look, needs_all_threads
from svcd.policy.waiting import MOST, Excused, Waits
from svcd.values.pulse import Pulse
from svcd.values.scheduling import ThreadTimes
from svcd.values.specs import Probe

PID = 7
RUNS, WAITS, SLEEPS = "runs", "waits", "sleeps"
PULSE = Pulse(turned=100.0)


class Schedule:
    """What a thread does from the instant 100 on, and what the kernel would account of it."""

    def __init__(self, spells: list[tuple[str, float]]) -> None:
        self.spells = spells
        self.ends = list(accumulate((seconds for _, seconds in spells), initial=PULSE.turned))[1:]

    def spent(self, what: str, until: float) -> float:
        """Seconds of one kind by an instant."""
        starts = [PULSE.turned, *self.ends]
        return sum(
            max(0.0, min(end, until) - start)
            for (kind, _), start, end in zip(self.spells, starts, self.ends, strict=False)
            if kind == what
        )

    def doing(self, at: float) -> str:
        if at < PULSE.turned:
            return SLEEPS
        return next((kind for (kind, _), end in zip(self.spells, self.ends, strict=True) if at < end), SLEEPS)

    def times(self, at: float) -> ThreadTimes:
        """A reading: a wait is accounted when it is over, that is when a turn begins."""
        turned = [end for (kind, _), end in zip(self.spells, self.ends, strict=True) if kind == WAITS and end <= at]
        return ThreadTimes(
            self.spent(RUNS, at), self.spent(WAITS, max(turned, default=0.0)), len(turned), self.doing(at) != SLEEPS
        )


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    """A thread waits before each turn, and may sleep after it."""
    spells = [(RUNS, draw(st.floats(0.001, 1.0)))]
    seconds = st.floats(0.001, 5.0)
    for _ in range(draw(st.integers(0, 6))):
        if draw(st.booleans()):
            spells.append((SLEEPS, draw(seconds)))
        spells += [(WAITS, draw(seconds)), (RUNS, draw(seconds))]
    return Schedule(spells)


def excused_at(schedule: Schedule, looks: list[float]) -> Excused:
    waits, found = Waits(), Excused()
    for now in looks:
        found = waits.look(PULSE, now, PID, {PID: schedule.times(now)}, missed=0.0)
    return found


@given(schedules(), st.lists(st.floats(0.01, 3.0), min_size=2, max_size=12))
def test_no_more_is_excused_than_it_did_not_run_and_no_less_than_it_was_seen_to_wait(
    schedule: Schedule, pauses: list[float]
) -> None:
    looks = [PULSE.turned + passed for passed in accumulate(pauses)]
    excused = excused_at(schedule, looks).turned
    first, last = looks[0], looks[-1]
    ran = schedule.spent(RUNS, last) - schedule.spent(RUNS, first)
    # A wait that was going on at the first look is accounted as a whole when it is over.
    assert excused <= min(last - PULSE.turned - ran + 1e-6, MOST)
    assert excused >= min(schedule.times(last).waited - schedule.times(first).waited, MOST) - 1e-6


@given(st.lists(st.floats(0.01, 3.0), min_size=1, max_size=12), st.booleans())
def test_on_a_calm_machine_nothing_is_excused(pauses: list[float], sleeps: bool) -> None:
    """Neither of one that sleeps for ever, nor of one that runs for ever."""
    schedule = Schedule([(SLEEPS if sleeps else RUNS, 1000.0)])
    looks = [PULSE.turned + passed for passed in accumulate(pauses)]
    assert excused_at(schedule, looks).turned == pytest.approx(0.0, abs=1e-6)


def test_a_wait_that_goes_on_is_seen_and_is_not_counted_again_when_it_is_over() -> None:
    schedule = Schedule([(RUNS, 0.1), (SLEEPS, 0.1), (WAITS, 5.3), (RUNS, 1.0), (SLEEPS, 100.0)])
    looks = [100.2, 101.2, 102.2, 103.2, 104.2, 105.2, 106.2, 107.2]
    found = [excused_at(schedule, looks[: count + 1]).turned for count in range(len(looks))]
    assert found[4] == pytest.approx(4.0), "from the first look on"
    assert found[5:] == pytest.approx([5.0, 5.3, 5.3])


def test_a_new_sign_of_life_is_a_new_silence() -> None:
    waits = Waits()
    for second in range(5):
        waits.look(PULSE, 100.0 + second, PID, {PID: ThreadTimes(0, 0, 1, is_runnable=True)}, missed=0.0)
    fresh = Pulse(turned=104.5)
    assert waits.look(fresh, 105.0, PID, {PID: ThreadTimes(0.01, 4.4, 2)}, missed=0.0).turned <= 0.5
    later = waits.look(fresh, 120.0, PID, {PID: ThreadTimes(0.01, 4.4, 2)}, missed=0.0).turned
    assert later <= 0.5, "what it waited before does not excuse it now"


def test_other_threads_excuse_an_asyncio_loop_and_stuck_threads_and_never_the_main_loop() -> None:
    waits = Waits()
    pulse = Pulse(turned=100.0, side_turned=100.0, stuck_since=100.0)
    for second in range(4):
        threads = {PID: ThreadTimes(0, 0, 1), 8: ThreadTimes(0, float(second), second)}
        found = waits.look(pulse, 100.0 + second, PID, threads, missed=0.0)
    assert found == Excused(turned=0.0, side_turned=3.0, stuck_since=3.0)


def test_missed_time_and_waits_at_the_same_time_are_excused_once() -> None:
    waits = Waits(5.0)
    waits.look(PULSE, 100.0, PID, {PID: ThreadTimes(0, 0, 1)}, missed=5.0)
    found = waits.look(PULSE, 110.0, PID, {PID: ThreadTimes(0.1, 8.0, 2)}, missed=9.0)
    assert found.turned == pytest.approx(8.0)
    assert waits.look(PULSE, 4000.0, PID, {}, missed=3000.0).turned == pytest.approx(8.0 + 3000 - 9)


def test_where_nothing_is_known_nothing_is_excused() -> None:
    waits = Waits()
    assert [waits.look(PULSE, 100.0 + second, PID, {}, missed=0.0) for second in range(4)] == [Excused()] * 4


@given(
    st.floats(0.05, 30),
    st.floats(0.05, 30),
    st.floats(0, 1),
    st.lists(st.tuples(st.floats(0.02, 2.0), st.floats(0.001, 0.01)), min_size=1, max_size=8),
)
def test_a_healthy_one_that_waits_from_its_last_beat_on_is_never_late(
    period: float, timeout: float, phase: float, turns: list[tuple[float, float]]
) -> None:
    """Whatever is set: its threads are read early enough, and what is not known of its waits is below the limit.

    The work of its next beat takes a twelfth of the timeout at most, in as many turns as it gets, each after a wait.
    """
    probe = Probe(period=period, timeout=timeout, threshold=1)
    beat = beat_of(probe)
    spells = [(RUNS, 0.0001), (SLEEPS, beat)]
    for waits_for, runs_for in turns:
        spells += [(WAITS, waits_for * timeout), (RUNS, runs_for * timeout)]
    schedule = Schedule(spells)
    waits: Waits | None = None
    now = PULSE.turned - 2 * period + phase * period
    while now < min(schedule.ends[-1], PULSE.turned + MOST):
        # Before its last turn, beats came in time.
        pulse = PULSE if now >= PULSE.turned else Pulse(turned=now - beat / 2)
        excused = Excused()
        if is_suspect(pulse, now, probe):
            waits = waits or Waits()
            excused = waits.look(pulse, now, PID, {PID: schedule.times(now)}, missed=0.0)
        else:
            waits = None
        assert look(pulse, now, timeout, "R", excused) is None
        now += period


@pytest.mark.parametrize(
    ("probe", "beat"),
    [
        (Probe(), 1.0),
        (Probe(period=0.1, timeout=0.3), 0.05),
        (Probe(period=1, timeout=1.5), 0.5),
        (Probe(period=30, timeout=1), 0.5),
        (Probe(period=1, timeout=50), 25.0),
    ],
)
def test_beats(probe: Probe, beat: float) -> None:
    assert beat_of(probe) == pytest.approx(beat)


def test_threads_are_read_only_where_the_next_look_may_find_it_late() -> None:
    probe = Probe()
    assert not is_suspect(Pulse(turned=100.0), 100.5, probe)
    assert is_suspect(Pulse(turned=100.0), 100.8, probe)
    assert is_suspect(Pulse(turned=100.0, stuck_since=99.0), 100.1, probe)
    assert not is_late(Pulse(turned=100.0), 102.0, 2.0)
    assert needs_all_threads(Pulse(turned=100.0, side_turned=98.0), 100.0, 2.0)
    assert not needs_all_threads(Pulse(turned=90.0, side_turned=99.5), 100.0, 2.0)
