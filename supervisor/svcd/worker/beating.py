"""The task of a worker that beats. `pulse` has what it notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from svcd.worker.pulse import Living, Pulse


async def beat(pulse: Pulse, every: float, services: Callable[[], Sequence[Living]]) -> None:
    """Note each turn of the loops; see `Pulse.beat`."""
    while True:
        pulse.turned(services())
        await trio.sleep(every)
