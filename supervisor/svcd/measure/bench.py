"""Measuring one api of a running app, over the same route that a service has to its dependency.

All ready replicas take part: the daemon says which there are and tells of each change, and a call goes to the least
loaded one, waits in line where all are busy, and goes elsewhere when it was not begun.
"""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd.measure.figures import summary
from svcd.measure.loops import Loop
from svcd.worker.client import Client
from svcd_ipc.client import connect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from svcd.measure.figures import Load
    from svcd.worker.route import Route
    from svcd_ipc.channel import Stream

CALLER = {"role": "cli", "service": "svcd bench"}
"""What replicas are told of who calls."""


@dataclass(frozen=True, slots=True)
class Target:
    """What is called, with what."""

    service: str
    api: str
    args: dict[str, Any]
    is_stream: bool
    timeout: float
    """Seconds that each call has."""
    max_queue: int = 1024
    """Calls that may wait for a replica with room; more are `Overloaded`."""


def measure(control: Path, target: Target, load: Load, begin: Callable[[], None]) -> dict[str, Any]:
    """Run a load against a running app; return its figures. SIGINT ends it early, with those there are by then.

    `begin` is called once the first calls are about to be made. Raises CallError when the daemon cannot be asked.
    """
    return trio.run(_measure, control, target, load, begin, restrict_keyboard_interrupt_to_checkpoints=True)


async def _measure(control: Path, target: Target, load: Load, begin: Callable[[], None]) -> dict[str, Any]:
    async with trio.open_nursery() as nursery:
        daemon = await connect(control, nursery=nursery, identity={"role": "cli"})
        client = Client(nursery, CALLER)
        route = client.route(target.service, default_timeout=target.timeout, max_queue=target.max_queue)
        news = daemon.stream("routes", {"service": target.service})
        client.update(await anext(news))
        nursery.start_soon(_follow, news, client)
        replicas = len(route.replicas)
        loop = Loop(load, lambda: _call(route, target), time.monotonic)
        await nursery.start(_stop_on_interrupt, loop)
        begin()
        elapsed = await loop.run()
        nursery.cancel_scope.cancel()
    return {"replicas": replicas, **summary(load, loop.tally, elapsed)}


async def _follow(news: Stream, client: Client) -> None:
    async for routes in news:
        client.update(routes)


async def _stop_on_interrupt(loop: Loop, *, task_status: trio.TaskStatus[None]) -> None:
    with trio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        await anext(signals)
        loop.stop()


async def _call(route: Route, target: Target) -> int:
    if not target.is_stream:
        await route.call(target.api, target.args)
        return 0
    count = 0
    async for _ in route.stream(target.api, target.args):
        count += 1
    return count
