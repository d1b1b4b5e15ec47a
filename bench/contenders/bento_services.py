"""BentoML's services that are measured: the same two as svcd's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import bentoml
import numpy as np  # noqa: TC002 - BentoML reads annotations while it runs

sys.path.insert(0, str(Path(__file__).parents[1]))

import array_work
from load import ARGUMENTS, Order, loop_on_asyncio


@bentoml.service(traffic={"timeout": 600, "concurrency": 1024})
class Echo:
    """The callee."""

    @bentoml.api
    async def small(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments."""
        return {"text": text, "number": number}

    @bentoml.api
    async def plus_one(self, array: np.ndarray, expected: int) -> np.ndarray:
        """Check, and return a new array."""
        return array_work.plus_one(array, expected)


@bentoml.service(traffic={"timeout": 600, "concurrency": 1024})
class Caller:
    """Calls Echo, and is what HTTP is measured with."""

    echo = bentoml.depends(Echo)

    @bentoml.api
    async def answer(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments: over HTTP, without a hop further."""
        return {"text": text, "number": number}

    @bentoml.api
    async def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order."""
        what = Order(**order)
        array, expected = array_work.make(what.size)

        async def small() -> bool:
            return await self.echo.small(**ARGUMENTS) == ARGUMENTS

        async def plus_one() -> bool:
            return array_work.is_plus_one(await self.echo.plus_one(array=array, expected=expected), array, expected)

        return (await loop_on_asyncio(plus_one if what.what == "array" else small, what)).plain()
