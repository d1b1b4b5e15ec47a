"""Two channels joined by a socket pair, in one loop, with or without shared memory."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
from sharing_rig import MANY, Pair, Service, arenas_mapped

from svcd_ipc.channel import Channel, Handler
from svcd_ipc.memory import Memory

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


@pytest.fixture
def memory() -> Iterator[Callable[..., Memory]]:
    """Return a maker of arenas. After the test none of them is in use, and no descriptor is left."""
    made: list[Memory] = []
    before = os.listdir("/proc/self/fd")  # noqa: PTH208 - names are enough
    mapped = arenas_mapped()

    def make(size: int = 64 * MANY) -> Memory:
        made.append(Memory(size))
        return made[-1]

    yield make
    gc.collect()
    assert [one.used for one in made] == [0] * len(made)
    for one in made:
        one.close()
    after = os.listdir("/proc/self/fd")  # noqa: PTH208 - as above
    assert len(after) <= len(before)
    assert arenas_mapped() <= mapped


@pytest.fixture
def pair(join: Any, memory: Callable[..., Memory]) -> Callable[..., Any]:
    """Return `await pair(size)`."""

    async def make(size: int = 64 * MANY, *, mine: Memory | None = None, **options: Any) -> Pair:
        service = Service()
        mine, theirs = mine or memory(size), memory(size)
        caller, _ = await join(service, caller={"memory": mine}, memory=theirs, **options)
        return Pair(caller, service, mine, theirs)

    return make
