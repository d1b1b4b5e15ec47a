"""Errors: typed ones, an app's own, and what cannot be sent at all."""

from __future__ import annotations

import threading

import svcd


class OddError(Exception):
    pass


@svcd.service
class Failing:
    @svcd.api
    async def fail(self, kind: str) -> int:
        if kind == "odd":
            raise OddError("three is odd")
        if kind == "typed":
            raise svcd.InvalidArgument("Failing.fail: kind: no", [{"field": "kind", "message": "no"}])
        if kind == "exit":
            raise SystemExit(3)
        raise KeyError(kind)

    @svcd.api
    def fail_plainly(self) -> int:
        raise OddError("plainly")

    @svcd.api
    async def unsendable(self) -> object:
        return {"lock": threading.Lock()}


@svcd.service
class Errors:
    failing = svcd.depends(Failing)

    @svcd.api
    async def fail(self, kind: str) -> int:
        return await self.failing.fail(kind=kind)

    @svcd.api
    def fail_plainly(self) -> int:
        return self.failing.fail_plainly()

    @svcd.api
    async def caught(self) -> str:
        try:
            await self.failing.fail(kind="odd")
        except OddError as error:
            return f"{type(error).__name__}: {error}"
        return "nothing"

    @svcd.api
    async def first_of_two(self) -> None:
        await svcd.gather(self.failing.fail(kind="odd"), self.failing.fail_plainly.to_async())

    @svcd.api
    async def unsendable(self) -> object:
        return await self.failing.unsendable()

    @svcd.api
    async def unsendable_argument(self) -> int:
        return await self.failing.fail(kind={1, 2})

    @svcd.api
    async def misspelt(self) -> int:
        return await self.failing.fial(kind="odd")
