"""Random graphs: every way of running one gives what a plain Python function says that it gives.

What is random: which services call which, through which kinds of apis, one after the other or together, how long each
takes, what fails and when, what is caught, what is cancelled half-way, and which streams are left early. And one graph
that is not random, for 200 clients at once: a diamond of six services with streams and batches.
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
from many_clients import ask_together
from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from graph_table import Driver
    from random_services import Program

EXAMPLES = int(os.environ.get("SVCD_GRAPHS", "30"))
AT_ONCE = 8
CLIENTS = 200


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


def program(add: int, *calls: dict[str, Any], together: bool = False) -> dict[str, Any]:
    told = {"add": add, "pause": 0.0, "items": add % 5, "together": together, "fails": "", "error": ""}
    return told | {"calls": list(calls)}


def call(callee: str, api: str, what: dict[str, Any]) -> dict[str, Any]:
    return {"callee": callee, "api": api, "how": "plain", "pause": 0.0, "leaves": 0, "program": what}


def diamond(number: int) -> dict[str, Any]:
    """S0 calls S1 and S2 at once; both call S3 and S4, one by batches and one by streams; and all end at S5."""
    last = program(number)
    third = program(number + 1, call("s5", "rows", last), call("s4", "items", program(number, call("s5", "run", last))))
    fourth = program(number + 2, call("s5", "items_plainly", last))
    left = program(number + 3, call("s3", "rows", third), call("s4", "items", fourth))
    right = program(number + 4, call("s3", "items_plainly", third), call("s4", "rows", fourth))
    return program(number + 5, call("s1", "run", left), call("s2", "run_plainly", right), together=True)


def test_200_clients_of_a_diamond_get_their_own_answers(running: Callable[[str], Driver]) -> None:
    driver = running("random_services:S0")
    programs = [diamond(number) for number in range(CLIENTS)]
    if hasattr(driver, "url"):
        found = ask_together(driver.url, [("run", {"program": each}) for each in programs])
    else:
        with ThreadPoolExecutor(CLIENTS) as pool:
            found = list(pool.map(lambda each: driver.call("S0", "run", program=each), programs))
    assert found == [outcomes("run", each) for each in programs]
