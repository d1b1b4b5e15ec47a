"""Tells the daemon how many calls this process has in flight and waiting, for services whose replicas follow the load.

The calls themselves pay nothing for it: they are counted from time to time, and only where the daemon asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from svcd.worker.client import Client
    from svcd.worker.control import Control

PERIOD = 0.1
"""Seconds between two counts."""


async def report_demand(client: Client, control: Control) -> None:
    """Count and tell until cancelled."""
    told: Any = None
    while True:
        await client.is_asked.wait()
        demand = client.demand()
        if demand != told:
            told = demand
            await control.demand(demand.calls)
        await trio.sleep(PERIOD)
