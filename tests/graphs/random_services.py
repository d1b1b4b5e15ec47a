"""Six services, each of which may call all below it in every way there is, and does what the programs say it is given.

A program is plain data (see `random_programs.py`), so that one running app is every graph with up to six services.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from contextlib import suppress
from typing import Any

import trio

import svcd

PRIME = 1_000_003
CAUGHT = -7
"""What a call counts for whose error was caught."""
Program = dict[str, Any]


class OddError(Exception):
    """One of the app's own."""


def mix(total: int, part: int) -> int:
    return (total * 31 + part) % PRIME


def fail(program: Program, moment: str) -> None:
    if program["fails"] == moment:
        if program["error"] == "odd":
            raise OddError(f"odd {program['add']}")
        raise svcd.InvalidArgument(f"no {program['add']}", [{"field": "program", "message": "no"}])


class Runs:
    """Runs programs in each colour, and knows how many it is at."""

    def __init__(self) -> None:
        self.inside = 0

    @svcd.api
    async def inside_now(self) -> int:
        return self.inside

    @svcd.api
    async def run(self, program: Program) -> int:
        self.inside += 1
        try:
            total = await self._go(program)
            fail(program, "after")
            return total
        finally:
            self.inside -= 1

    @svcd.api
    def run_plainly(self, program: Program) -> int:
        total = self._go_plainly(program)
        fail(program, "after")
        return total

    @svcd.api
    async def items(self, program: Program) -> AsyncIterator[int]:
        self.inside += 1
        try:
            total = await self._go(program)
            for number in range(program["items"]):
                yield total + number
            fail(program, "after")
        finally:
            self.inside -= 1

    @svcd.api
    def items_plainly(self, program: Program) -> Iterator[int]:
        total = self._go_plainly(program)
        for number in range(program["items"]):
            yield total + number
        fail(program, "after")

    @svcd.api(batchable=True, max_batch_size=4)
    async def rows(self, programs: list[Program]) -> list[Any]:
        """One bad row fails alone."""
        return [await self._row(program) for program in programs]

    async def _row(self, program: Program) -> Any:
        try:
            total = await self._go(program)
            fail(program, "after")
        except (svcd.CallError, OddError) as error:
            return error
        return total

    async def _go(self, program: Program) -> int:
        fail(program, "before")
        await trio.sleep(program["pause"])
        total = program["add"]
        if program["together"]:
            parts = await svcd.gather(*(self._call(call) for call in program["calls"]))
        else:
            parts = [await self._call(call) for call in program["calls"]]
        for part in parts:
            total = mix(total, part)
        return total

    async def _call(self, call: Program) -> int:
        callee = getattr(self, call["callee"]).to_async
        if call["how"] == "cancelled":
            with trio.move_on_after(call["pause"]), suppress(svcd.CallError, OddError):
                await self._part(callee, call)
            return 0
        try:
            return await self._part(callee, call)
        except (svcd.CallError, OddError):
            if call["how"] == "caught":
                return CAUGHT
            raise

    async def _part(self, callee: Any, call: Program) -> int:
        program, api = call["program"], call["api"]
        if api == "rows":
            return (await callee.rows(programs=[program]))[0]
        if not api.startswith("items"):
            return await getattr(callee, api)(program=program)
        total = taken = 0
        async for item in getattr(callee, api)(program=program):
            total, taken = total + item, taken + 1
            if taken == call["leaves"]:
                break
        return total

    def _go_plainly(self, program: Program) -> int:
        fail(program, "before")
        time.sleep(program["pause"])
        total = program["add"]
        for call in program["calls"]:
            total = mix(total, self._call_plainly(call))
        return total

    def _call_plainly(self, call: Program) -> int:
        callee = getattr(self, call["callee"]).to_sync
        if call["how"] == "cancelled":  # which code that blocks cannot do
            return 0
        try:
            return self._part_plainly(callee, call)
        except (svcd.CallError, OddError):
            if call["how"] == "caught":
                return CAUGHT
            raise

    def _part_plainly(self, callee: Any, call: Program) -> int:
        program, api = call["program"], call["api"]
        if api == "rows":
            return callee.rows(programs=[program])[0]
        if not api.startswith("items"):
            return getattr(callee, api)(program=program)
        total = taken = 0
        for item in getattr(callee, api)(program=program):
            total, taken = total + item, taken + 1
            if taken == call["leaves"]:
                break
        return total


@svcd.service
class S5(Runs):
    pass


@svcd.service
class S4(Runs):
    s5 = svcd.depends(S5)


@svcd.service
class S3(Runs):
    s4 = svcd.depends(S4)
    s5 = svcd.depends(S5)


@svcd.service
class S2(Runs):
    s3 = svcd.depends(S3)
    s4 = svcd.depends(S4)
    s5 = svcd.depends(S5)


@svcd.service
class S1(Runs):
    s2 = svcd.depends(S2)
    s3 = svcd.depends(S3)
    s4 = svcd.depends(S4)
    s5 = svcd.depends(S5)


@svcd.service
class S0(Runs):
    s1 = svcd.depends(S1)
    s2 = svcd.depends(S2)
    s3 = svcd.depends(S3)
    s4 = svcd.depends(S4)
    s5 = svcd.depends(S5)
