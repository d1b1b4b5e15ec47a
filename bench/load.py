"""The load that every contender is given: a closed loop of calls, counted and timed in one way.

Imported by services of other frameworks, in other environments: the standard library alone.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

ARGUMENTS = {"text": "one small call", "number": 7}
"""Of a small call; it is answered with the same."""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
"""A W3C traceparent, as a request over HTTP gives to the calls that it makes: svcd times the hops of such calls."""
WARM_UP = 0.1
"""Share of the calls that are made before the clock starts: they fill caches and settle the clock of the core."""
HANG = 30.0
"""Seconds after the end of a measurement at which calls that are not answered are given up."""
_NAMED = 3
"""Errors of one measurement that are printed; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Order:
    """One measurement.

    `what` is `small` (echo a small map), `array` (there, checked, plus one, back, checked), or what one contender alone
    has, such as `stream`.
    """

    what: str = "small"
    in_flight: int = 1
    calls: int = 10_000
    """At most."""
    seconds: float = 5.0
    """No call is begun after that."""
    size: int = 0
    """Bytes of an array."""
    target: str = ""
    """Which service is called, where there is a choice."""

    def warm_up(self) -> Order:
        """Return the order of the calls before."""
        calls = max(3, self.in_flight, int(self.calls * WARM_UP))
        return Order(self.what, self.in_flight, calls, self.seconds * WARM_UP, self.size, self.target)


@dataclass(slots=True)
class Sample:
    """What one client saw."""

    latencies: list[float] = field(default_factory=list)
    """Seconds from the call to its answer, one per call that was answered rightly."""
    lost: int = 0
    """Calls without an answer, or with a wrong one."""
    elapsed: float = 0.0
    """Seconds from the first call to the last answer."""

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


async def work(call: Callable[[], Awaitable[bool]], sample: Sample, order: Order, share: int, end: float) -> None:
    """Make up to `share` calls one after the other until `end`; `call` tells whether the answer was right."""
    clock = time.perf_counter
    for _ in range(share):
        start = clock()
        if start > end:
            return
        try:
            is_right = await call()
        except Exception as error:  # noqa: BLE001 - the benchmark counts what is lost, whatever the reason
            if sample.lost < _NAMED:
                print(f"{order.what}: {type(error).__name__}: {error}"[:500], file=sys.stderr)
            is_right = False
        if is_right:
            sample.latencies.append(clock() - start)
        else:
            sample.lost += 1


def shares(order: Order) -> list[int]:
    """Return how many calls each of the tasks makes."""
    each, more = divmod(order.calls, order.in_flight)
    return [each + (index < more) for index in range(order.in_flight)]


async def loop_on_trio(call: Callable[[], Awaitable[bool]], order: Order) -> Sample:
    """Warm up and measure with tasks of trio."""
    import trio

    sample = Sample()
    for each in (order.warm_up(), order):
        sample, start = Sample(), time.perf_counter()
        async with trio.open_nursery() as nursery:
            for share in shares(each):
                nursery.start_soon(work, call, sample, each, share, start + each.seconds)
        sample.elapsed = time.perf_counter() - start
    return sample


async def loop_on_asyncio(call: Callable[[], Awaitable[bool]], order: Order) -> Sample:
    """Warm up and measure with tasks of asyncio."""
    import asyncio

    sample = Sample()
    for each in (order.warm_up(), order):
        sample, start = Sample(), time.perf_counter()
        tasks = [asyncio.ensure_future(work(call, sample, each, share, start + each.seconds)) for share in shares(each)]
        _, hanging = await asyncio.wait(tasks, timeout=each.seconds + HANG)
        if hanging:
            raise TimeoutError(f"{len(hanging)} of {each.in_flight} calls in flight were never answered")
        sample.elapsed = time.perf_counter() - start
    return sample


def loop_blocking(call: Callable[[], bool], order: Order) -> Sample:
    """Warm up and measure one call at a time."""
    sample, clock = Sample(), time.perf_counter
    for each in (order.warm_up(), order):
        sample, began = Sample(), clock()
        for _ in range(each.calls):
            start = clock()
            if start > began + each.seconds:
                break
            if call():
                sample.latencies.append(clock() - start)
            else:
                sample.lost += 1
        sample.elapsed = clock() - began
    return sample
