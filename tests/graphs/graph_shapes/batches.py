"""Batches: one run for many callers, each with its own rows."""

from __future__ import annotations

import numpy as np
import trio

import svcd
from graph_shapes.failures import OddError


@svcd.service(traffic={"max_concurrency": 100})
class Model:
    def __init__(self) -> None:
        self.runs = 0

    @svcd.api(batchable=True, max_batch_size=16)
    async def squares(self, x: np.ndarray) -> np.ndarray:
        self.runs += 1
        await trio.sleep(0.001)
        return x * x

    @svcd.api(batchable=True, batch_dim=(1, 0), idempotent=True)
    def lengths(self, x: np.ndarray, names: list[str], sign: int = 1) -> tuple[list[str], np.ndarray]:
        if "bad" in names:
            raise OddError(f"a bad name in {len(names)}")
        return names, sign * np.abs(x).sum(axis=0)

    @svcd.api(batchable=True)
    async def roots(self, x: list[float]) -> list[object]:
        return [row**0.5 if row >= 0 else OddError(f"{row} has no root") for row in x]

    @svcd.api(batchable=True)
    async def too_few(self, x: list[int]) -> list[int]:
        return x[1:]

    @svcd.api
    async def count(self) -> int:
        return self.runs


@svcd.service
class Batches:
    model = svcd.depends(Model)

    @svcd.api
    async def squares(self, sizes: list[int]) -> list[list[int]]:
        """Ask for so many squares each, all at once."""
        calls = (self.model.squares(x=np.arange(100 * i, 100 * i + n)) for i, n in enumerate(sizes))
        return [rows.tolist() for rows in await svcd.gather(*calls)]

    @svcd.api
    async def shared_runs(self) -> bool:
        before = await self.model.count()
        await svcd.gather(*(self.model.squares(x=np.zeros(1)) for _ in range(64)))
        return await self.model.count() - before <= 8

    @svcd.api
    async def lengths(self) -> list[object]:
        calls = [
            self.model.lengths.to_async(x=np.full((2, n), n), names=[f"n{n}"] * n, sign=(-1) ** n) for n in range(1, 5)
        ]
        return [[names, lengths.tolist()] for names, lengths in await svcd.gather(*calls)]

    @svcd.api
    async def one_is_bad(self, api: str) -> list[str]:
        """Return what becomes of each of five callers, of whom one has a bad row."""

        async def ask(number: int) -> str:
            try:
                if api == "roots":
                    return str((await self.model.roots(x=[-1.0 if number == 3 else 4.0]))[0])
                names = ["bad" if number == 3 else f"n{number}"]
                return (await self.model.lengths.to_async(x=np.ones((2, 1)), names=names))[0][0]
            except (svcd.RemoteError, OddError) as error:
                return str(error).rpartition("OddError: ")[2]

        return await svcd.gather(*map(ask, range(5)))

    @svcd.api
    async def too_few(self) -> list[int]:
        return await self.model.too_few(x=[1, 2, 3])
