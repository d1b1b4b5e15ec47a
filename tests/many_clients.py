"""Many HTTP clients at once, each on a connection of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

import svcd

if TYPE_CHECKING:
    from collections.abc import Sequence


def ask_together(url: str, jobs: Sequence[tuple[str, dict[str, Any]]], *, timeout: float = 60.0) -> list[Any]:
    """Return what each call gives, or the error it ends with; none is sent before all clients are there."""
    return trio.run(_ask_all, url, jobs, timeout)


async def _ask_all(url: str, jobs: Sequence[tuple[str, dict[str, Any]]], timeout: float) -> list[Any]:  # noqa: ASYNC109 - of the clients
    answers: list[Any] = [None] * len(jobs)
    missing, begin = len(jobs), trio.Event()

    async def one(number: int, api: str, args: dict[str, Any]) -> None:
        nonlocal missing
        async with svcd.AsyncClient(url, timeout=timeout) as client:
            missing -= 1
            if not missing:
                begin.set()
            await begin.wait()
            try:
                answers[number] = await client.call(api, **args)
            except svcd.CallError as error:
                answers[number] = error

    async with trio.open_nursery() as nursery:
        for number, (api, args) in enumerate(jobs):
            nursery.start_soon(one, number, api, args)
    return answers
