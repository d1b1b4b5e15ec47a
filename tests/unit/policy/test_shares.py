"""Shares of CPUs and memory: never more than there is, never less than fits, near the GPU."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.placement import Shortage
from svcd.policy.shares import FULL, share_cpus, share_memory
from svcd.values.machine import Cpu, Machine

GI = 1024**3


def machine(*nodes: int, limit: float | None = None, memory: int = 16 * GI) -> Machine:
    """One CPU for each node named; two in a row of a node are the threads of one core."""
    cpus = [Cpu(number, number - number % 2, node) for number, node in enumerate(nodes)]
    return Machine(cpus=tuple(cpus), cpu_limit=limit, memory=memory)


def test_whole_cores_are_cpus_of_ones_own() -> None:
    box = machine(0, 0, 0, 0)
    first = share_cpus(2, box, [], None)
    assert first == {0: FULL, 1: FULL}
    assert share_cpus(2, box, [first], None) == {2: FULL, 3: FULL}


def test_fractions_share_a_cpu() -> None:
    box = machine(0, 0)
    first = share_cpus(0.5, box, [], None)
    second = share_cpus(0.5, box, [first], None)  # type: ignore[list-item]  # it was granted
    assert first == second == {0: 500}
    assert share_cpus(1, box, [first, second], None) == {1: FULL}  # type: ignore[list-item]  # as above


def test_a_whole_and_a_fraction() -> None:
    assert share_cpus(1.25, machine(0, 0), [], None) == {0: FULL, 1: 250}


def test_a_fraction_goes_where_it_fits_best() -> None:
    assert share_cpus(0.3, machine(0, 0, 0), [{0: 500}, {1: 700}], None) == {1: 300}


def test_a_share_is_spread_when_no_cpu_has_enough_left() -> None:
    assert share_cpus(0.8, machine(0, 0), [{0: 600}, {1: 600}], None) == {0: 400, 1: 400}


def test_the_node_of_the_gpu_is_preferred() -> None:
    assert share_cpus(2, machine(0, 0, 1, 1), [], 1) == {2: FULL, 3: FULL}
    assert share_cpus(3, machine(0, 0, 1, 1), [], 1) == {2: FULL, 3: FULL, 0: FULL}


def test_a_share_that_a_small_node_holds_leaves_the_large_one_whole() -> None:
    assert share_cpus(2, machine(0, 0, 0, 0, 1, 1), [], None) == {4: FULL, 5: FULL}


def test_the_threads_of_a_core_stay_together() -> None:
    cpus = tuple(Cpu(number, core=number % 2) for number in range(4))
    assert share_cpus(2, Machine(cpus=cpus, memory=GI), [], None) == {0: FULL, 2: FULL}


@pytest.mark.parametrize(
    ("share", "held", "reason"),
    [
        (3, [], "needs 3 CPUs; this machine has 2"),
        (1, [{0: 1000}, {1: 500}], "needs 1 CPU; 500m of 2 free, 1500m held by replicas"),
        (0.25, [{0: 1000}, {1: 900}], "needs 250m CPUs; 100m of 2 free, 1900m held by replicas"),
    ],
)
def test_shortages_say_the_arithmetic(share: float, held: list[dict[int, int]], reason: str) -> None:
    assert share_cpus(share, machine(0, 0), held, None) == Shortage(reason)


def test_a_limit_around_svcd_counts_for_all() -> None:
    box = machine(0, 0, 0, 0, limit=1.5)
    assert share_cpus(2, box, [], None) == Shortage("needs 2 CPUs; this machine has 1500m")
    assert share_cpus(1, box, [{0: 1000}], None) == Shortage("needs 1 CPU; 500m of 1500m free, 1 held by replicas")


@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=8),
    st.lists(st.integers(1, 5000).map(lambda thousandths: thousandths / 1000), max_size=12),
    st.sampled_from([None, 0, 1, 7]),
    st.data(),
)
def test_nothing_is_given_twice_and_nothing_is_withheld(
    nodes: list[int], shares: list[float], near: int | None, data: st.DataObject
) -> None:
    box = machine(*nodes)
    held: list[dict[int, int]] = []
    for share in shares:
        free = len(nodes) * FULL - sum(sum(slices.values()) for slices in held)
        answer = share_cpus(share, box, held, near)
        if isinstance(answer, Shortage):
            assert round(share * FULL) > free
            continue
        assert sum(answer.values()) == round(share * FULL) <= free
        assert all(0 < slice_ <= FULL for slice_ in answer.values())
        held.append(answer)
        for cpu in range(len(nodes)):
            assert sum(slices.get(cpu, 0) for slices in held) <= FULL
        if held and data.draw(st.booleans(), label="one ends"):
            held.pop(data.draw(st.integers(0, len(held) - 1)))


def test_memory() -> None:
    box = machine(0, memory=10 * GI)
    assert share_memory(4 * GI, box, [6 * GI]) is None
    assert share_memory(4 * GI + 1, box, [6 * GI]) == Shortage(
        "needs 4294967297 of memory; 4Gi of 10Gi free, 6Gi held by replicas"
    )
    assert share_memory(11 * GI, box, []) == Shortage("needs 11Gi of memory; this machine has 10Gi")
    assert share_memory(GI, machine(0, memory=int(1.5 * GI)), [GI]) == Shortage(
        "needs 1Gi of memory; 512Mi of 1.5Gi free, 1Gi held by replicas"
    )
