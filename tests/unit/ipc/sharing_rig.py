"""A caller and a callee with an arena each, in one loop."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio

from svcd_ipc.buffers import LEND
from svcd_ipc.space import PAGE

if TYPE_CHECKING:
    from svcd_ipc.channel import Channel, IncomingCall
    from svcd_ipc.memory import Memory

MANY = 200_000
"""Bytes of an array that goes by the arena."""


def numbers(count: int = MANY, start: int = 0) -> np.ndarray[Any, Any]:
    return (np.arange(start, start + count) % 251).astype("u1")


class Service:
    """Handles calls, and keeps what it is told to keep."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.seen: list[Any] = []

    async def __call__(self, call: IncomingCall) -> Any:
        x = call.args.get("x")
        if call.api == "keep":
            self.kept.append(x)
            return None
        if call.api == "keep_slice":
            self.kept.append(x[1000:1010])
            return None
        if call.api == "write":
            x[0] = 1
        if call.api == "force":
            x.flags.writeable = True
        if call.api == "slice":
            return x[PAGE : 2 * LEND + PAGE]
        if call.api == "plus_one":
            return x + 1
        if call.api == "items":
            return self.items(x)
        return call.args

    async def items(self, x: Any) -> Any:
        for n in range(5):
            yield x + n


def arenas_mapped() -> int:
    return Path("/proc/self/maps").read_text().count("svcd-arena")


class Pair:
    """A caller and a callee with an arena each."""

    def __init__(self, caller: Channel, service: Service, mine: Memory, theirs: Memory) -> None:
        self.caller = caller
        self.call = caller.call
        self.service = service
        self.mine = mine
        self.theirs = theirs


async def until_free(*used: Memory) -> None:
    """Wait until nothing is held any more; fails by the time limit of the test."""
    while any(memory.used for memory in used):
        gc.collect()
        await trio.sleep(0.01)
