"""A model whose apis take batches, and what its kernels saw."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np  # noqa: TC002  (annotations of apis are read at run time)
import trio
import trio.testing

import svcd

KERNEL = 0.005
"""Seconds of a kernel, whatever the size of its batch."""


class Record:
    """What the kernels of one test saw."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.cancelled = 0
        self.gate = trio.Event()
        self.begun = trio.Event()
        self.thread_gate = threading.Event()
        self.thread_begun = threading.Event()
        self.calls: list[Any] = []

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


RECORD = Record()


class OddError(Exception):
    pass


@svcd.service
class Model:
    @svcd.api(batchable=True, max_batch_size=64)
    async def embed(self, x: np.ndarray) -> np.ndarray:
        assert not x.flags.writeable
        RECORD.batches.append(x)
        await trio.sleep(KERNEL)
        return x * 2

    @svcd.api(batchable=True)
    async def gated(self, x: list[int], loud: bool = False) -> list[int]:
        RECORD.batches.append(x)
        RECORD.calls.append(svcd.current_call())
        RECORD.begun.set()
        try:
            await RECORD.gate.wait()
        except trio.Cancelled:
            RECORD.cancelled += 1
            raise
        return [row + 1 for row in x]

    @svcd.api(batchable=True)
    def plainly(self, x: list[int]) -> list[int]:
        RECORD.batches.append(x)
        RECORD.thread_begun.set()
        RECORD.thread_gate.wait(20)
        return x

    @svcd.api(batchable=True)
    async def picky(self, x: list[int]) -> list[Any]:
        RECORD.batches.append(x)
        await trio.sleep(KERNEL)
        return [row if row >= 0 else OddError(f"row {row}") for row in x]

    @svcd.api(batchable=True)
    async def fragile(self, x: list[int]) -> list[int]:
        return await self.retried(x)

    @svcd.api(batchable=True, idempotent=True)
    async def retried(self, x: list[int]) -> list[int]:
        RECORD.batches.append(x)
        await trio.sleep(KERNEL)
        if any(row < 0 for row in x):
            raise OddError(f"one of {len(x)} rows")
        return x

    @svcd.api(batchable=True)
    async def lossy(self, x: list[int]) -> list[int]:
        return x[1:]

    @svcd.api(batchable=True)
    async def leaving(self, x: list[int]) -> list[int]:
        raise SystemExit(1)
