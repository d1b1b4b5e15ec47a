"""The connection from a caller to one replica: made by the first who calls, while the others wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from svcd_ipc.client import connect
from svcd_ipc.errors import ServiceUnavailable
from svcd_ipc.memory import of_process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from svcd.worker.replica_end import ReplicaEnd
    from svcd_ipc.channel import Channel

DOWN_FOR = 0.05
"""Seconds for which a replica that could not be reached is left alone."""


async def opened(end: ReplicaEnd, nursery: trio.Nursery, identity: Mapping[str, Any], now: float) -> Channel:
    """Return the channel of a replica; see `ReplicaEnd.open`."""
    while end.channel is None or end.is_gone:
        if end.opening is not None:
            await end.opening.wait()
            continue
        end.opening = trio.Event()
        try:
            said = {**identity, "secret": end.address.secret}
            end.channel = await connect(end.path, nursery=nursery, identity=said, memory=of_process())
        except ServiceUnavailable:
            end.retry_at = now + DOWN_FOR
            raise
        finally:
            end.opening.set()
            end.opening = None
    return end.channel
