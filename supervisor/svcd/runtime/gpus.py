"""Keeps the ledger's picture of this box true: reads the GPUs while the app starts, and again while they are missing.

Nobody waits for the driver but the replicas that need it: without persistence mode it takes seconds, and a sick one
never answers. One that is loaded late, as at boot, is found without a restart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd.runtime.ledger import Ledger
    from svcd.values.inventory import Inventory

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0
"""Seconds between readings. A reader that hangs in the driver may not even be killable: there must not be many."""


LATE = 1.0
"""Seconds that the driver may take before those who wait for it say so."""


async def keep_read(ledger: Ledger, read: Callable[[], Awaitable[Inventory]], say: Callable[[str], None]) -> None:
    """Read until nobody waits for what NVML could not tell. say: hears each new problem, once."""
    told: str | None = None
    pause = FIRST_PAUSE
    while True:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_tell_when_late, ledger)
            inventory = await read()
            nursery.cancel_scope.cancel()
        ledger.learn(inventory)
        if inventory.problem != told:
            told = inventory.problem
            say(f"GPUs: {told or f'found {len(inventory.gpus)}'}")
        if told is None or not ledger.is_short:
            return
        await trio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _tell_when_late(ledger: Ledger) -> None:
    await trio.sleep(LATE)
    ledger.late()
