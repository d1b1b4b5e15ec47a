"""Whole GPUs: never one twice, never one that is not there, best connected first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from svcd.policy.placement import Assignment, Shortage, place
from svcd.values.inventory import Gpu, Inventory


def box(*nodes: int | None) -> Inventory:
    gpus = [
        Gpu(index=i, uuid=f"GPU-{i}", name="A100", memory_total=1, memory_used=0, numa_node=node)
        for i, node in enumerate(nodes)
    ]
    return Inventory(gpus=tuple(gpus))


def test_no_gpu_is_asked_for_and_none_is_needed() -> None:
    assert place(0, Inventory(problem="no driver"), frozenset()) == Assignment()


def test_gpus_of_one_numa_node_are_preferred() -> None:
    assert place(2, box(0, 1, 1, 0), {"GPU-0"}) == Assignment(("GPU-1", "GPU-2"))


def test_a_small_request_leaves_the_large_node_whole() -> None:
    assert place(1, box(0, 0, 0, 1), frozenset()) == Assignment(("GPU-3",))


def test_a_request_larger_than_a_node_takes_what_there_is() -> None:
    assert place(3, box(0, 0, 1, 1), frozenset()) == Assignment(("GPU-0", "GPU-1", "GPU-2"))


def test_shortages_say_the_arithmetic() -> None:
    assert place(2, box(0, 0, 0), {"GPU-0", "GPU-1"}) == Shortage("needs 2 GPUs; 1 of 3 free, 2 held by other replicas")
    assert place(4, box(0, 0), frozenset()) == Shortage("needs 4 GPUs; this box has 2 in all")
    assert place(1, Inventory(problem="no NVIDIA driver"), frozenset()) == Shortage(
        "needs 1 GPU; this box has none (no NVIDIA driver)"
    )


def test_a_type_is_told_by_words_of_the_name() -> None:
    names = ["NVIDIA A10", "NVIDIA A100-SXM4-80GB", "NVIDIA A100-PCIE-40GB", "Tesla T4"]
    gpus = [Gpu(index=i, uuid=f"GPU-{i}", name=name, memory_total=1, memory_used=0) for i, name in enumerate(names)]
    inventory = Inventory(gpus=tuple(gpus))
    assert place(1, inventory, frozenset(), "A10") == Assignment(("GPU-0",))
    assert place(2, inventory, frozenset(), "a100") == Assignment(("GPU-1", "GPU-2"))
    assert place(1, inventory, frozenset(), "nvidia-a100-40gb") == Assignment(("GPU-2",))
    assert place(2, inventory, {"GPU-1"}, "A100") == Shortage(
        "needs 2 A100 GPUs; 1 of 2 free, 1 held by other replicas"
    )
    assert place(1, inventory, frozenset(), "H100") == Shortage(
        "needs 1 H100 GPU; this box has none: it has 1 x NVIDIA A10, 1 x NVIDIA A100-SXM4-80GB,"
        " 1 x NVIDIA A100-PCIE-40GB, 1 x Tesla T4"
    )
    assert place(2, inventory, frozenset(), "T4").reason.startswith(
        "needs 2 T4 GPUs; this box has 1 in all: it has 1 x"
    )


@given(st.lists(st.sampled_from([None, 0, 1]), max_size=10), st.lists(st.integers(1, 4), max_size=6))
def test_nothing_is_given_twice_and_nothing_is_withheld(nodes: list[int | None], requests: list[int]) -> None:
    inventory = box(*nodes)
    taken: set[str] = set()
    for wanted in requests:
        answer = place(wanted, inventory, frozenset(taken))
        if isinstance(answer, Shortage):
            assert len(nodes) - len(taken) < wanted
            continue
        assert len(set(answer.gpus)) == wanted
        assert not taken & set(answer.gpus)
        assert set(answer.gpus) <= {gpu.uuid for gpu in inventory.gpus}
        taken |= set(answer.gpus)
