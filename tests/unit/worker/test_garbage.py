"""A call that fails leaves nothing for the collector, whichever way it came: its frames, and the arrays in them, go.

`tests/unit/ipc/test_ipc_garbage.py` asks the same of a connection.
"""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import AsyncIterator  # noqa: TC003 - an api's annotation is looked up
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

import svcd

if TYPE_CHECKING:
    from collections.abc import Iterator


class Held:
    """Something in a frame."""


HELD: weakref.WeakSet[Held] = weakref.WeakSet()


def hold() -> Held:
    held = Held()
    HELD.add(held)
    return held


class TroubleError(Exception):
    """The app's own error, which its callers catch by its class."""


@svcd.service
class Failing:
    @svcd.api
    async def by_task(self, n: int) -> int:
        held = hold()
        raise TroubleError(n, repr(held))

    @svcd.api
    def by_thread(self, n: int) -> int:
        held = hold()
        raise TroubleError(n, repr(held))

    @svcd.api(batchable=True)
    def by_batch(self, rows: list[int]) -> list[int]:
        held = hold()
        raise TroubleError(len(rows), repr(held))

    @svcd.api
    async def by_stream(self, n: int) -> AsyncIterator[int]:
        held = hold()
        yield n
        raise TroubleError(n, repr(held))

    @svcd.api
    async def never(self) -> int:
        held = hold()
        await trio.sleep_forever()
        return id(held)


@svcd.service
class Entry:
    failing = svcd.depends(Failing)

    @svcd.api
    def from_thread(self, api: str) -> None:
        held, arg = hold(), [1] if api == "by_batch" else 1
        with suppress(TroubleError):
            found = getattr(self.failing, api).to_sync(arg)
            if api == "by_stream":
                list(found)
        del held


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Let the collector rest; after the test no frame is left, without it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def all_gone() -> None:
    """Wait until no frame of the test is left; fails by its time limit."""
    while HELD:  # noqa: ASYNC110 - nothing tells of it
        await trio.sleep(0.01)


async def fail_by(failing: Any, api: str) -> None:
    held, arg = hold(), [1] if api == "by_batch" else 1
    with suppress(TroubleError):
        found = getattr(failing, api)(arg)
        if api == "by_stream":
            async for _ in found:
                pass
        else:
            await found
    del held


@pytest.mark.parametrize("api", ["by_task", "by_thread", "by_batch", "by_stream"])
async def test_an_error_keeps_nothing(api: str) -> None:
    async with svcd.local(Entry) as app:
        for _ in range(3):
            await fail_by(app[Failing], api)
        await all_gone()


@pytest.mark.parametrize("api", ["by_task", "by_thread", "by_batch", "by_stream"])
def test_an_error_keeps_nothing_of_a_thread_that_calls(api: str) -> None:
    with svcd.local(Entry) as app:
        for _ in range(3):
            app.from_thread(api=api)
        end = time.monotonic() + 10
        while HELD:
            assert time.monotonic() < end, f"{len(HELD)} frames are left"
            time.sleep(0.01)


async def test_bad_arguments_and_calls_that_are_left_keep_nothing() -> None:
    async def bad(failing: Any) -> None:
        held = hold()
        with pytest.raises(svcd.InvalidArgument):
            await failing.by_task(n="no number")
        del held

    async def left(failing: Any) -> None:
        held = hold()
        with trio.move_on_after(0.01):
            await failing.never()
        del held

    async with svcd.local(Failing) as app:
        for _ in range(3):
            await bad(app)
            await left(app)
        await all_gone()
