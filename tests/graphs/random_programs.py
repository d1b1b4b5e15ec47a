"""Random programs for `random_services.py`, and what should come of each: a model that calls nobody."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from random_services import CAUGHT, Program, mix

SERVICES = ("S0", "S1", "S2", "S3", "S4", "S5")
APIS = ("run", "run_plainly", "items", "items_plainly", "rows")
PAUSES = (0.0, 0.0, 0.0, 0.001, 0.004)
Failure = tuple[str, str]


@st.composite
def programs(draw: st.DrawFn, level: int = 0, size: int = 3) -> Program:
    """A program for the service of a level: it calls those further down, and no more of them than `size` at once."""
    below = SERVICES[level + 1 :]
    count = draw(st.integers(0, size)) if below else 0
    return {
        "add": draw(st.integers(0, 999)),
        "pause": draw(st.sampled_from(PAUSES)),
        "items": draw(st.integers(0, 5)),
        "together": draw(st.booleans()),
        "fails": draw(st.sampled_from(("", "", "", "", "before", "after"))),
        "error": draw(st.sampled_from(("odd", "invalid"))),
        "calls": [draw(calls(level, size)) for _ in range(count)],
    }


@st.composite
def calls(draw: st.DrawFn, level: int, size: int) -> Program:
    callee = draw(st.integers(level + 1, len(SERVICES) - 1))
    return {
        "callee": f"s{callee}",
        "api": draw(st.sampled_from(APIS)),
        "how": draw(st.sampled_from(("plain", "plain", "plain", "caught", "cancelled"))),
        "pause": draw(st.sampled_from(PAUSES)),
        "leaves": draw(st.sampled_from((0, 0, 1, 3))),
        "program": draw(programs(callee, max(1, size - 1))),
    }


def outcomes(api: str, program: Program) -> int | frozenset[Failure]:
    """What a call of an api gives: a number, or the failures that it may end with (of calls made together, any)."""
    return _part({"api": api, "program": program, "leaves": 0})


def _go(program: Program, *, is_plain: bool) -> int | frozenset[Failure]:
    if program["fails"] == "before":
        return _failure(program)
    total, failures = program["add"], frozenset[Failure]()
    for call in program["calls"]:
        part = 0 if call["how"] == "cancelled" else _part(call)
        if isinstance(part, frozenset):
            if call["how"] == "caught":
                part = CAUGHT
            elif program["together"] and not is_plain:
                failures |= part
                continue
            else:
                return failures | part
        total = mix(total, part)
    return failures or total


def _part(call: Program) -> int | frozenset[Failure]:
    api, program = call["api"], call["program"]
    total = _go(program, is_plain=api.endswith("plainly"))
    if isinstance(total, frozenset):
        return total
    if not api.startswith("items"):
        return _failure(program) if program["fails"] == "after" else total
    taken = [total + number for number in range(program["items"])]
    if 0 < call["leaves"] <= len(taken):
        return sum(taken[: call["leaves"]])
    return _failure(program) if program["fails"] == "after" else sum(taken)


def _failure(program: Program) -> frozenset[Failure]:
    kinds = {"odd": ("OddError", f"odd {program['add']}"), "invalid": ("InvalidArgument", f"no {program['add']}")}
    return frozenset((kinds[program["error"]],))


def failure_of(error: Any) -> Failure:
    """Return what an error is called, whichever way it came."""
    name = getattr(error, "type_name", type(error).__name__).rpartition(".")[2]
    return name, getattr(error, "message", str(error))
