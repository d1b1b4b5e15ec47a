"""svcd's services that are measured: `Caller` calls `Echo`, `Shape` a chain of eight and a service of many replicas.

The clock is in the calling service: what is measured is `await self.echo.small(...)`, as any service would write it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator  # noqa: TC003 - svcd reads annotations while it runs
from pathlib import Path
from typing import Any

import numpy as np  # noqa: TC002 - as above

import svcd

sys.path.insert(0, str(Path(__file__).parents[1]))

import array_work
from load import ARGUMENTS, TRACE, Order, loop_on_trio

from svcd_ipc.timing import Timing

_ITEMS = 2000
"""Of one stream."""


class _Small:
    """What answers a small call."""

    @svcd.api
    async def small(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments."""
        return {"text": text, "number": number}


@svcd.service(traffic={"max_concurrency": 1024})
class Echo(_Small):
    """The callee."""

    @svcd.api
    def small_sync(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments, from a thread."""
        return {"text": text, "number": number}

    @svcd.api
    async def plus_one(self, array: np.ndarray, expected: int) -> np.ndarray:
        """Check, and return a new array."""
        return array_work.plus_one(array, expected)

    @svcd.api
    async def size_of(self, array: np.ndarray) -> int:
        """Return one number about a large argument."""
        return array.nbytes

    @svcd.api
    async def numbers(self, count: int) -> AsyncIterator[int]:
        """Stream small items."""
        for number in range(count):
            yield number


def _measured(calls: dict[str, Any], order: Order) -> Any:
    if order.what not in calls:
        raise ValueError(f"nothing here measures {order.what}")
    call = svcd.current_call()
    assert call is not None
    # As under a request over HTTP: the calls that are made now carry the trace, and are timed.
    call.trace, call.timing = TRACE, Timing(call.clock())
    return loop_on_trio(calls[order.what], order)


@svcd.service(traffic={"timeout": 600})
class Caller:
    """Calls Echo, and is what HTTP is measured with."""

    echo = svcd.depends(Echo)

    @svcd.api
    async def answer(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments: over HTTP, without a hop further."""
        return {"text": text, "number": number}

    @svcd.api
    async def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order."""
        what = Order(**order)
        array, expected = array_work.make(what.size)
        if what.what == "empty":
            array = svcd.empty(array.shape, array.dtype)
            array[:] = 1

        async def small() -> bool:
            return await self.echo.small(**ARGUMENTS) == ARGUMENTS

        async def sync() -> bool:
            return await self.echo.to_async.small_sync(**ARGUMENTS) == ARGUMENTS

        async def plus_one() -> bool:
            return array_work.is_plus_one(await self.echo.plus_one(array=array, expected=expected), array, expected)

        async def empty() -> bool:
            return await self.echo.size_of(array=array) == array.nbytes

        async def stream() -> bool:
            count = 0
            async for _ in self.echo.numbers(count=_ITEMS):
                count += 1
            return count == _ITEMS

        calls = {"small": small, "sync": sync, "array": plus_one, "empty": empty, "stream": stream}
        first: float | None = None
        if what.what in ("array", "empty"):
            start = time.perf_counter()
            await calls[what.what]()
            first = time.perf_counter() - start
        sample = await _measured(calls, what)
        return sample.plain() | {"first": first, "items": _ITEMS}


@svcd.service(traffic={"max_concurrency": 1024})
class Many(_Small):
    """A service with as many replicas as the run says."""


class _Link:
    """One link of a chain; the others are made from it."""

    next: Any

    @svcd.api
    async def down(self, links: int, text: str, number: int) -> dict[str, Any]:
        """Answer at the end of the chain, else ask the next link."""
        if links == 1:
            return {"text": text, "number": number}
        answer: dict[str, Any] = await self.next.down(links=links - 1, text=text, number=number)
        return answer


@svcd.service
class Link8(_Link):
    """The end."""


@svcd.service
class Link7(_Link):
    next = svcd.depends(Link8)


@svcd.service
class Link6(_Link):
    next = svcd.depends(Link7)


@svcd.service
class Link5(_Link):
    next = svcd.depends(Link6)


@svcd.service
class Link4(_Link):
    next = svcd.depends(Link5)


@svcd.service
class Link3(_Link):
    next = svcd.depends(Link4)


@svcd.service
class Link2(_Link):
    next = svcd.depends(Link3)


@svcd.service
class Link1(_Link):
    next = svcd.depends(Link2)


@svcd.service(traffic={"timeout": 600})
class Shape:
    """Calls down a chain of eight, and the replicas of Many."""

    chain = svcd.depends(Link1)
    many = svcd.depends(Many)

    @svcd.api
    async def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order: `chain` with as many hops as `target` says, `many` with the replicas there are."""
        what = Order(**order)

        async def chain() -> bool:
            return await self.chain.down(links=int(what.target), **ARGUMENTS) == ARGUMENTS

        async def many() -> bool:
            return await self.many.small(**ARGUMENTS) == ARGUMENTS

        return (await _measured({"chain": chain, "many": many}, what)).plain()
