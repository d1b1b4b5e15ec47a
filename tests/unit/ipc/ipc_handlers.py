"""What the channels of these tests answer calls with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from svcd_ipc.errors import (
    ReplicaLost,
)

if TYPE_CHECKING:
    from svcd_ipc.channel import Channel, IncomingCall


async def echo(call: IncomingCall) -> Any:
    return call.args


async def forever(_call: IncomingCall) -> Any:
    await trio.sleep_forever()


class Sleeper:
    """Handles calls that never end, and records how they were ended."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.ended = trio.Event()

    async def __call__(self, call: IncomingCall) -> Any:
        if call.api == "echo":
            return call.args
        self.started.set()
        try:
            await trio.sleep_forever()
        finally:
            self.ended.set()


async def lost(channel: Channel) -> None:
    with pytest.raises(ReplicaLost, match=r"Classifier/1\.api: (lost|stopped) while the call"):
        await channel.call("api", {})
