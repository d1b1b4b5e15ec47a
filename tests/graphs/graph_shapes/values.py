"""Values: what is validated and converted, and what types arrive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

import svcd
from graph_shapes.failures import OddError

# Validation, and what types arrive.


@dataclass
class Box:
    width: int
    labels: list[str]


@svcd.service
class Boxes:
    @svcd.api
    async def area(self, box: Box, height: float = 1.5) -> float:
        return box.width * height

    @svcd.api
    def grow(self, box: Box, by: int) -> Box:
        return Box(box.width + by, box.labels)

    @svcd.api
    async def pair(self) -> tuple[int, str]:
        return (1, "one")


@svcd.service
class Types:
    boxes = svcd.depends(Boxes)

    @svcd.api
    async def area(self, width: int) -> float:
        return await self.boxes.area(box=Box(width, []))

    @svcd.api
    async def kinds(self) -> list[str]:
        """Return the names of the types that arrive here."""
        grown = await self.boxes.grow.to_async(Box(1, ["a"]), by=1)
        return [type(grown).__name__, type(await self.boxes.pair()).__name__]

    @svcd.api
    async def wrong(self) -> float:
        return await self.boxes.area(box={"width": "wide", "labels": [1]}, depth=3)


# Arrays.


@svcd.service
class Scale:
    @svcd.api
    def scale(self, image: np.ndarray, by: float) -> np.ndarray:
        if image.flags.writeable:
            raise OddError("an argument that can be written to")
        return image * np.float32(by)

    @svcd.api
    def spoil(self, image: np.ndarray) -> None:
        image[0] = 0


@svcd.service
class Arrays:
    scale = svcd.depends(Scale)

    @svcd.api
    async def run(self) -> list[object]:
        """Return shape, dtype, sum and whether the result can be written to."""
        image = np.arange(60_000, dtype=np.float32).reshape(200, 300)
        scaled = await self.scale.scale.to_async(image=image, by=2)
        return [list(scaled.shape), str(scaled.dtype), float(scaled.sum()), scaled.flags.writeable]

    @svcd.api
    async def spoil(self) -> None:
        await self.scale.spoil.to_async(image=np.zeros(3))

    @svcd.api
    async def echo(self, values: np.ndarray) -> np.ndarray:
        return values
