"""Restarting replicas on order: one after the other, each ready before the next one ends."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from svcd.policy.lifecycle import Happening, State

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from svcd.runtime.bus import Bus
    from svcd.runtime.replica import Replica

WHY = "svcd restart"
_BACK = {State.READY, State.DONE}
"""Ready, or done as a oneshot is."""


async def restart(replicas: Iterable[Replica], bus: Bus) -> AsyncGenerator[dict[str, Any], None]:
    """Restart them in order; stop at the first one that does not come back, so that the others go on serving.

    Gives `{"change": {...}}` for each step of the replica whose turn it is, and `{"restarted": NAME, "state": STATE,
    "reason": TEXT}` when that is over: `ready`, `done`, `failed`, or `stopped` when somebody stopped it meanwhile.
    """
    for replica in replicas:
        async with aclosing(_restart(replica, bus)) as steps:
            async for news in steps:
                yield news
        if replica.state not in _BACK:
            return


async def _restart(replica: Replica, bus: Bus) -> AsyncGenerator[dict[str, Any], None]:
    generation = replica.generation
    if not _is_over(replica, generation):
        replica.post(Happening.RESTART, WHY)
        async with aclosing(bus.listen()) as changes:
            async for change in changes:
                if (change.service, change.replica) == (replica.spec.name, replica.index):
                    yield {"change": asdict(change)}
                if _is_over(replica, generation):
                    break
    yield {"restarted": replica.name, "state": str(replica.state), "reason": replica.reason}


def _is_over(replica: Replica, generation: int) -> bool:
    """Whether it is ready or failed anew, or will never be."""
    is_new = replica.generation > generation and replica.state in {*_BACK, State.FAILED}
    return is_new or replica.state is State.STOPPED
