"""200 clients at once of a diamond of six services with streams and batches: the same answers however it is run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from random_programs import outcomes

from many_clients import ask_together

if TYPE_CHECKING:
    from collections.abc import Callable

    from graph_table import Driver

CLIENTS = 200


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
