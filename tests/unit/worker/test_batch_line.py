"""When a batch is run, and what is in it: decisions alone, with time as a number."""

from __future__ import annotations

import pytest

from svcd.worker.batch_line import BatchLine, Hold, Piece

RUN = 0.005


def line(**options: float) -> BatchLine:
    return BatchLine(**{"max_rows": 8, "max_latency": 0.005, **options})


def arrive(made: BatchLine, count: int, now: float, *, rows: int = 1, kind: str = "a") -> list[Piece]:
    pieces = [Piece(kind, rows) for _ in range(count)]
    for piece in pieces:
        made.arrive([piece], now)
    return pieces


def run(made: BatchLine, now: float) -> tuple[list[Piece], float]:
    """Run the batch that is due now, and return it and when it has ended."""
    batch = made.take(now)
    assert isinstance(batch, list)
    made.ended(batch, now + RUN, took=RUN)
    return batch, now + RUN


def run_all(made: BatchLine, now: float) -> tuple[list[list[Piece]], float]:
    """Run all that waits, holding back where that is due."""
    batches = []
    while made.waiting:
        held = made.take(now)
        if isinstance(held, Hold):
            now = held.until
        else:
            made.ended(held, now + RUN, took=RUN)
            batches.append(held)
            now += RUN
    return batches, now


def crowd(made: BatchLine, count: int) -> float:
    """Let so many callers be answered together, after they have come quickly before; return the time."""
    now = 0.0
    for _ in range(2):
        arrive(made, count, now)
        _, now = run_all(made, now)
    return now


def test_nothing_to_do() -> None:
    assert line().take(0.0) is None


def test_the_first_call_of_all_is_run_at_once() -> None:
    made = line()
    pieces = arrive(made, 1, 0.0)
    assert made.take(0.0) == pieces
    assert made.take(0.0) is None
    assert repr(made) == "<BatchLine [1 running, 0 waiting]>"


def test_while_the_kernel_runs_calls_gather() -> None:
    made = line()
    first = arrive(made, 1, 0.0)
    assert made.take(0.0) == first
    others = arrive(made, 5, 0.001)
    assert made.take(0.001) is None
    made.ended(first, RUN, took=RUN)
    made_of = made.take(RUN)
    assert made_of == others or isinstance(made_of, Hold)


def test_a_lone_caller_never_waits_however_quick() -> None:
    made, now = line(), 0.0
    for _ in range(100):
        arrive(made, 1, now)
        _, now = run(made, now)


def test_those_just_answered_are_waited_for() -> None:
    made = line()
    now = crowd(made, 4)
    arrive(made, 1, now)
    held = made.take(now)
    assert isinstance(held, Hold)
    assert now < held.until <= now + RUN
    arrive(made, 2, now)
    assert isinstance(made.take(now), Hold)
    arrive(made, 1, now)  # all four are back
    assert len(run(made, now)[0]) == 4


def test_a_wrong_guess_costs_no_more_than_a_run() -> None:
    made = line(max_latency=1)
    now = crowd(made, 4)
    arrive(made, 2, now)
    assert made.take(now) == Hold(pytest.approx(now + RUN))
    arrive(made, 1, now)
    held = made.take(now)
    assert held == Hold(pytest.approx(now + 2 * RUN / 3))  # three wait for one
    batch, now = run(made, held.until)
    assert len(batch) == 3


def test_after_a_crowd_that_came_once_a_lone_caller_does_not_wait() -> None:
    made = line(max_rows=64)
    first = arrive(made, 1, 0.0)
    assert made.take(0.0) == first
    arrive(made, 63, 0.0)
    made.ended(first, RUN, took=RUN)
    now = RUN
    assert len(run(made, now)[0]) == 63
    now += RUN
    made.went(now)
    arrive(made, 1, now)
    assert len(run(made, now)[0]) == 1


def test_after_a_crowd_that_kept_coming_a_lone_caller_waits_once() -> None:
    made = line()
    now = crowd(made, 6)
    arrive(made, 1, now)
    held = made.take(now)
    assert isinstance(held, Hold)
    assert held.until <= now + RUN
    for _ in range(10):
        batch, now = run(made, held.until if isinstance(held, Hold) else now)
        assert len(batch) == 1
        arrive(made, 1, now)
        held = None


def test_callers_that_take_turns_become_one_crowd() -> None:
    made = line(max_rows=64)
    now = crowd(made, 8)
    first = arrive(made, 4, now)
    now = made.take(now).until
    assert made.take(now) == first
    arrive(made, 4, now)  # the other half is late
    made.ended(first, now + RUN, took=RUN)
    now += RUN
    assert isinstance(made.take(now), Hold)
    arrive(made, 4, now)
    assert len(run(made, now)[0]) == 8


def test_the_wait_begins_when_the_answers_are_on_their_way() -> None:
    made = line()
    now = crowd(made, 4)
    arrive(made, 1, now)
    held = made.take(now)
    made.went(now + 0.003)
    assert made.take(now + 0.003) == Hold(pytest.approx(held.until + 0.003))


def test_max_latency_bounds_the_wait() -> None:
    made = line(max_latency=0.001)
    now = crowd(made, 4)
    arrive(made, 1, now)
    assert made.take(now) == Hold(pytest.approx(now + 0.001))
    assert len(run(made, now + 0.001)[0]) == 1


def test_without_max_latency_nobody_waits() -> None:
    made = line(max_latency=0)
    arrive(made, 1, now := crowd(made, 4))
    assert len(run(made, now)[0]) == 1


def test_nobody_is_expected_any_more_after_max_latency() -> None:
    made = line()
    now = crowd(made, 4) + made.max_latency
    arrive(made, 1, now)
    assert len(run(made, now)[0]) == 1


def test_rare_arrivals_are_not_waited_for() -> None:
    made, now = line(), 0.0
    for _ in range(20):
        arrive(made, 1, now)
        _, now = run(made, now)
        now += 0.02
    first = arrive(made, 1, now)
    assert made.take(now) == first
    second = arrive(made, 1, now + 0.001)  # a coincidence
    made.ended(first, now + RUN, took=RUN)
    assert made.take(now + RUN) == second


def test_a_full_batch_waits_for_nothing() -> None:
    made = line()
    now = crowd(made, 8)
    arrive(made, 1, now, rows=4)
    assert isinstance(made.take(now), Hold)
    arrive(made, 1, now, rows=4)
    assert len(run(made, now)[0]) == 2


def test_a_batch_takes_in_order_what_fits() -> None:
    made = line()
    first, second, third = (arrive(made, 1, 0.0, rows=rows)[0] for rows in (5, 4, 3))
    assert run(made, 0.0)[0] == [first]
    assert run(made, 1.0)[0] == [second, third]


def test_one_call_larger_than_a_batch_is_taken_alone() -> None:
    made = line()
    large = arrive(made, 1, 0.0, rows=50)
    arrive(made, 1, 0.0)
    assert run(made, 0.0)[0] == large


def test_kinds_take_turns_and_do_not_mix() -> None:
    made = line()
    for number in range(40):
        arrive(made, 1, 0.0, kind="ab"[number % 2])
    batches, _ = run_all(made, 0.0)
    assert ["".join(sorted({piece.kind for piece in batch})) for batch in batches] == list("ababab")


def test_a_full_kind_goes_before_one_that_is_held_back() -> None:
    made = line()
    now = crowd(made, 8)
    arrive(made, 1, now, kind="few")
    assert isinstance(made.take(now), Hold)
    many = arrive(made, 2, now, rows=4, kind="many")
    assert made.take(now) == many


def test_who_leaves_is_in_no_batch() -> None:
    made = line()
    first = arrive(made, 1, 0.0)
    assert made.take(0.0) == first
    stay, go = arrive(made, 2, 0.0)
    made.leave([go])
    made.leave([go])
    assert made.waiting == 1
    made.ended(first, RUN, took=RUN)
    assert made.take(RUN + 1) == [stay]


def test_more_lanes_run_more_batches() -> None:
    made = line(lanes=2)
    arrive(made, 24, 0.0)
    assert len(made.take(0.0)) == 8
    assert len(made.take(0.0)) == 8
    assert made.take(0.0) is None


def test_a_call_in_pieces_is_one_call() -> None:
    made = line()
    made.arrive([Piece("a", 8, is_last=False), Piece("a", 8, is_last=False), Piece("a", 2)], 0.0)
    assert made.waiting == 1
    now = 0.0
    for rows in (8, 8, 2):  # a lone caller: its pieces wait for nobody either
        batch, now = run(made, now)
        assert [piece.rows for piece in batch] == [rows]
