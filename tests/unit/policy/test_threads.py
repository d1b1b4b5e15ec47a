"""Threads follow the CPU share, and the service has the last word."""

from __future__ import annotations

import pytest

from svcd.policy.threads import thread_variables

ALL = {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "RAYON_NUM_THREADS"}


def test_without_a_share_nothing_is_said() -> None:
    assert thread_variables(None, ()) == {}


@pytest.mark.parametrize(("share", "threads"), [(0.5, "1"), (1, "1"), (1.9, "1"), (2, "2"), (7.5, "7"), (16, "16")])
def test_the_share_rounded_down_and_at_least_one(share: float, threads: str) -> None:
    variables = thread_variables(share, ())
    assert {name: variables[name] for name in ALL} == dict.fromkeys(ALL, threads)
    assert variables.get("TOKENIZERS_PARALLELISM") == ("false" if threads == "1" else None)


def test_what_the_service_sets_is_left_to_it() -> None:
    own = {"MKL_NUM_THREADS", "TOKENIZERS_PARALLELISM"}
    assert thread_variables(1, own).keys() == ALL - own


def test_what_would_overrule_its_own_number_is_not_set() -> None:
    assert thread_variables(4, {"OMP_NUM_THREADS": "2"}) == {"RAYON_NUM_THREADS": "4"}
