"""Faults that an operator orders, `svcd chaos`: what is done to one process of the app, and how it is taken back.

Law: no pid is signalled. The keeper, whose child the process is, signals what it knows under the id of the process
(`Classifier/1#3`), so that no later process with the same pid can be hit. What can be taken back is taken back when the
order ends, and so when the command that gave it is interrupted or killed.
"""

from __future__ import annotations

import time
from enum import StrEnum
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import TYPE_CHECKING, Any

import trio

from svcd.policy.lifecycle import State
from svcd_ipc.errors import InvalidArgument, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from svcd.runtime.replica import Replica

STANDS, RUNS = 0.04, 0.01
"""Seconds: a slowed process stands still and runs in turn. It gets a fifth of the time, and stands far shorter than any
liveness limit."""
CUT_LIMIT = 5.0
"""Seconds for a worker to say how many connections it has cut."""
_STRUCK = {State.READY, State.UNREADY}
"""Only what serves, or did, is struck: what starts or stops is on its way already."""


class Fault(StrEnum):
    """What can be ordered."""

    KILL = "kill"
    """SIGKILL to the main process."""
    STOP = "stop"
    """SIGSTOP, until the liveness limit has it replaced or the order ends."""
    SLOW = "slow"
    """Stopped and continued in turn, until the order ends."""
    DROP = "drop"
    """Every connection that it has from callers is cut."""


async def strike(
    replica: Replica,
    fault: Fault,
    seconds: float,
    send: Callable[[Replica, int], None],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[dict[str, Any], None]:
    """Do it; give `{"struck": {...}}` once it is done, or `{"missed": WHY}`. It lasts until this ends.

    What is given says when it was begun, `at`, by the clock of which the stream of events tells: both can arrive late.

    Args:
        replica: Whom.
        fault: What.
        seconds: How long `slow` and `stop` last at most.
        send: Has the keeper send a signal to the present process of a replica.
        clock: CLOCK_MONOTONIC.
    """
    if replica.state not in _STRUCK or replica.is_given_up:
        yield {"missed": f"{replica.name} is {replica.state}"}
        return
    struck = {"service": replica.spec.name, "replica": replica.index, "generation": replica.generation}
    told = {"struck": struck | {"pid": replica.pid, "connections": None, "at": clock()}}
    match fault:
        case Fault.KILL:
            send(replica, SIGKILL)
            yield told
        case Fault.DROP:
            told["struck"]["connections"] = await _cut(replica)
            yield told
        case Fault.STOP | Fault.SLOW:
            yield told
            await _hold(replica, fault, seconds, send)


async def _cut(replica: Replica) -> int:
    if replica.channel is None:
        raise InvalidArgument(
            f"{replica.name} is a program, whose connections svcd does not know; kill, stop or slow it"
        )
    with trio.move_on_after(CUT_LIMIT):
        count: int = await replica.channel.call("drop", {})
        return count
    raise ServiceUnavailable(f"{replica.name} did not cut its connections within {CUT_LIMIT:g} s: is it stuck?")


async def _hold(replica: Replica, fault: Fault, seconds: float, send: Callable[[Replica, int], None]) -> None:
    generation = replica.generation

    def lives() -> bool:
        return replica.generation == generation and replica.pid is not None

    try:
        with trio.move_on_after(seconds):
            async with trio.open_nursery() as nursery:
                if fault is Fault.SLOW:
                    nursery.start_soon(_pulse, replica, lives, send)
                else:
                    send(replica, SIGSTOP)
                while lives():
                    await replica.news.wait()
                nursery.cancel_scope.cancel()
    finally:
        if lives():
            send(replica, SIGCONT)


async def _pulse(replica: Replica, lives: Callable[[], bool], send: Callable[[Replica, int], None]) -> None:
    while lives():
        send(replica, SIGSTOP)
        await trio.sleep(STANDS)
        if lives():
            send(replica, SIGCONT)
        await trio.sleep(RUNS)
