"""Two channels joined by a socket pair, in one loop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio

from svcd_ipc.channel import Channel, Handler

Join = Callable[..., Awaitable[tuple[Channel, Channel]]]


@pytest.fixture
def join(nursery: trio.Nursery) -> Join:
    """Return `await join(handler, **options)`: (caller, callee) channels; `caller` options go to the first alone."""

    async def join(
        handler: Handler | None = None, *, caller: dict[str, Any] | None = None, **options: Any
    ) -> tuple[Channel, Channel]:
        one, other = socket.socketpair()
        shared = {key: options[key] for key in ("clock", "limits") if key in options}
        calling = Channel(one, identity={"service": "Entry", "replica": 0}, **shared, **(caller or {}))
        serving = Channel(
            other, identity={"service": "Classifier", "replica": 1}, handler=handler, speaks_first=False, **options
        )
        nursery.start_soon(serving.run)
        await nursery.start(calling.run)
        return calling, serving

    return join


@pytest.fixture
def raw_peer(nursery: trio.Nursery) -> Iterator[Callable[..., tuple[Channel, trio.SocketStream]]]:
    """Return `raw_peer(handler, **options)`: a running channel, and the other end as a bare stream."""

    ends = []

    def start(handler: Handler | None = None, **options: Any) -> tuple[Channel, trio.SocketStream]:
        one, other = trio.socket.socketpair()
        channel = Channel(one, identity={"service": "Classifier", "replica": 1}, handler=handler, **options)
        nursery.start_soon(channel.run)
        ends.append(other)
        return channel, trio.SocketStream(other)

    yield start
    for end in ends:
        end.close()
