"""Apis whose results are right or wrong in as many ways as there are, in a service and in the entry above it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator  # noqa: TC003  (annotations of apis are read at run time)
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel

import svcd


class Mood(Enum):
    GOOD = "good"


@dataclass
class Point:
    x: int


class Box(BaseModel):
    points: list[Point]


RESULTS: dict[str, Any] = {
    "right_int": 3,
    "numpy_int": np.int64(3),
    "int_for_float": 2,
    "right_list": (1, 2),
    "right_point": Point(4),
    "map_for_box": {"points": [{"x": 1}]},
    "right_mood": Mood.GOOD,
    "right_choice": "a",
    "nothing": None,
    "nan": float("nan"),
    "nan_inside": {"scores": [1.0, float("inf")]},
    "nan_in_array": np.array([1.0, np.nan]),
    "set_inside": {"labels": {1}},
    "set_for_list": {1, 2},
    "huge_int": 2**70,
    "an_object": [object()],
    "half_a_character": "\ud800",
    "text_for_int": "x",
    "none_for_int": None,
    "int_for_text": 3,
    "list_for_map": [1],
    "list_for_array": [1.0],
    "something_for_none": 1,
    "text_inside_point": Point("a"),  # type: ignore[arg-type]  # that is what is wrong
    "map_for_point": {"y": 1},
    "text_inside_box": {"points": [{"x": "a"}]},
    "no_mood": "sad",
}


@svcd.service
class Source:
    @svcd.api
    async def right_int(self) -> int:
        return RESULTS["right_int"]

    @svcd.api
    def numpy_int(self) -> int:
        return RESULTS["numpy_int"]

    @svcd.api
    async def int_for_float(self) -> float:
        return RESULTS["int_for_float"]

    @svcd.api
    def right_list(self) -> list[int]:
        return RESULTS["right_list"]

    @svcd.api
    async def right_point(self) -> Point:
        return RESULTS["right_point"]

    @svcd.api
    async def map_for_box(self) -> Box:
        return RESULTS["map_for_box"]

    @svcd.api
    async def right_mood(self) -> Mood:
        return RESULTS["right_mood"]

    @svcd.api
    async def right_choice(self) -> Literal["a", "b"]:
        return RESULTS["right_choice"]

    @svcd.api
    async def nothing(self) -> None:
        return RESULTS["nothing"]

    @svcd.api
    async def nan(self) -> float:
        return RESULTS["nan"]

    @svcd.api
    async def nan_inside(self):
        return RESULTS["nan_inside"]

    @svcd.api
    async def nan_in_array(self) -> np.ndarray:
        return RESULTS["nan_in_array"]

    @svcd.api
    async def set_inside(self) -> dict[str, Any]:
        return RESULTS["set_inside"]

    @svcd.api
    async def set_for_list(self) -> list[int]:
        return RESULTS["set_for_list"]

    @svcd.api
    async def huge_int(self) -> int:
        return RESULTS["huge_int"]

    @svcd.api
    def an_object(self):
        return RESULTS["an_object"]

    @svcd.api
    async def half_a_character(self) -> str:
        return RESULTS["half_a_character"]

    @svcd.api
    async def text_for_int(self) -> int:
        return RESULTS["text_for_int"]

    @svcd.api
    async def none_for_int(self) -> int:
        return RESULTS["none_for_int"]

    @svcd.api
    def int_for_text(self) -> str | bytes | None:
        return RESULTS["int_for_text"]

    @svcd.api
    async def list_for_map(self) -> dict[str, int]:
        return RESULTS["list_for_map"]

    @svcd.api
    async def list_for_array(self) -> np.ndarray:
        return RESULTS["list_for_array"]

    @svcd.api
    async def something_for_none(self) -> None:
        return RESULTS["something_for_none"]

    @svcd.api
    async def text_inside_point(self) -> Point:
        return RESULTS["text_inside_point"]

    @svcd.api
    async def map_for_point(self) -> Point:
        return RESULTS["map_for_point"]

    @svcd.api
    async def text_inside_box(self) -> Box:
        return RESULTS["text_inside_box"]

    @svcd.api
    async def no_mood(self) -> Mood:
        return RESULTS["no_mood"]

    @svcd.api(batchable=True)
    def rows(self, x: list[int]) -> list[str]:
        return np.array(x)

    @svcd.api
    async def items(self, last: str) -> AsyncIterator[int]:
        yield 1
        yield RESULTS[last]

    @svcd.api
    def items_plainly(self, last: str) -> Iterator[Point]:
        yield Point(1)
        yield RESULTS[last]


@svcd.service
class Top(Source):
    source = svcd.depends(Source)

    @svcd.api
    async def of_source(self, api: str, args: dict[str, Any]) -> Any:
        """Return what another service gets: its result, or the error's name and text; of a stream the items before."""
        call = getattr(self.source.to_async, api)(**args)
        items: list[Any] = []
        try:
            if not hasattr(call, "__aiter__"):
                return {"result": await call}
            async for item in call:
                items.append(item)  # noqa: PERF401 - what came before an error counts
        except svcd.CallError as error:
            return {"error": type(error).__name__, "message": str(error), "items": items}
        return {"items": items}
