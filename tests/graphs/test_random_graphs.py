"""Random graphs: every way of running one gives what a plain Python function says that it gives.

What is random: which services call which, through which kinds of apis, one after the other or together, how long each
takes, what fails and when, what is caught, what is cancelled half-way, and which streams are left early.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_programs import APIS, SERVICES, failure_of, outcomes, programs
from random_services import OddError

import svcd
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from graph_table import Driver
    from random_services import Program

EXAMPLES = int(os.environ.get("SVCD_GRAPHS", "30"))
AT_ONCE = 8


def run(driver: Driver, api: str, program: Program) -> Any:
    """Return what a call of the entry gives, or the failure it ends with."""
    try:
        if api.startswith("items"):
            return sum(driver.stream("S0", api, program=program))
        if api == "rows":
            return driver.call("S0", api, programs=[program])[0]
        return driver.call("S0", api, program=program)
    except (svcd.CallError, OddError) as error:
        return failure_of(error)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(APIS), programs()), min_size=1, max_size=AT_ONCE))
def test_a_random_graph_gives_what_the_model_says(
    running: Callable[[str], Driver], jobs: list[tuple[str, Program]]
) -> None:
    driver = running("random_services:S0")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda job: run(driver, *job), jobs))
    for (api, program), result in zip(jobs, found, strict=True):
        expected = outcomes(api, program)
        assert result in expected if isinstance(expected, frozenset) else result == expected, (api, program)
    for service in SERVICES:  # what was cancelled or left has stopped
        wait_until(lambda service=service: driver.call(service, "inside_now") == 0, f"{service} to be at nothing")
