"""A graph: two models work on the same features, and each service calls what it needs."""

from __future__ import annotations

import svcd


@svcd.service
class Features:
    """Called by both models; one service, however many call it."""

    @svcd.api
    async def extract(self, text: str) -> dict[str, float]:
        words = text.split()
        return {"words": float(len(words)), "letters": float(sum(map(len, words)))}


@svcd.service
class Difficulty:
    features = svcd.depends(Features)

    @svcd.api
    async def grade(self, text: str) -> float:
        found = await self.features.extract(text=text)
        return round(found["letters"] / max(found["words"], 1.0), 1)


@svcd.service
class Duration:
    features = svcd.depends(Features)

    def __init__(self) -> None:  # once in each process, before it is ready: load the real model here
        self.words_per_second = 4.0

    @svcd.api
    async def estimate(self, text: str) -> float:
        found = await self.features.extract(text=text)
        return found["words"] / self.words_per_second


@svcd.service
class Report:
    difficulty = svcd.depends(Difficulty)
    duration = svcd.depends(Duration)

    @svcd.api
    async def read(self, text: str) -> dict[str, float]:
        grade, seconds = await svcd.gather(self.difficulty.grade(text=text), self.duration.estimate(text=text))
        return {"grade": grade, "seconds": seconds}
