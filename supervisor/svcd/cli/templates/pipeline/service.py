"""A pipeline: three steps, each a service of its own, and the one that answers HTTP and calls them in turn."""

from __future__ import annotations

import re

import svcd


@svcd.service
class Preprocess:
    @svcd.api
    async def words(self, text: str) -> list[str]:
        return re.findall(r"[a-z']+", text.lower())


@svcd.service
class Model:
    def __init__(self) -> None:  # once in each process, before it is ready: load the real model here
        self.weights = {"great": 2.0, "love": 2.0, "good": 1.0, "slow": -1.0, "bad": -2.0}

    @svcd.api
    def score(self, words: list[str]) -> float:  # `def`: runs on a thread, one call at a time
        return sum(self.weights.get(word, 0.0) for word in words)


@svcd.service
class Postprocess:
    @svcd.api
    async def label(self, score: float) -> str:
        return "positive" if score > 0 else "negative" if score < 0 else "neutral"


@svcd.service
class Pipeline:
    preprocess = svcd.depends(Preprocess)
    model = svcd.depends(Model)
    postprocess = svcd.depends(Postprocess)

    @svcd.api
    async def run(self, text: str) -> str:
        words = await self.preprocess.words(text=text)
        score = await self.model.score.to_async(words=words)  # a call has the colour of the api, unless told otherwise
        return await self.postprocess.label(score=score)
