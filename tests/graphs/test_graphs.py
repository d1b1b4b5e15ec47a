"""The same graphs give the same answers, whichever way they are run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from graph_table import CASES, Case, check

if TYPE_CHECKING:
    from collections.abc import Callable

    from graph_table import Driver


@pytest.mark.parametrize("case", CASES, ids=str)
def test_graph_answers(case: Case, running: Callable[[str], Driver]) -> None:
    check(case, running(case.app))
