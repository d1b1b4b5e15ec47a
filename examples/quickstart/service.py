"""How cheerful is a text? One service finds the words, another weighs them."""

import re

import svcd


@svcd.service
class Words:
    @svcd.api
    async def split(self, text: str) -> list[str]:
        return re.findall(r"[a-z']+", text.lower())


@svcd.service
class Mood:
    words = svcd.depends(Words)

    def __init__(self) -> None:  # a real service loads its model here
        self.weights = {"great": 2, "love": 2, "good": 1, "slow": -1, "bad": -2, "broken": -2}

    @svcd.api
    async def score(self, text: str) -> dict[str, float]:
        found = {word: self.weights[word] for word in await self.words.split(text=text) if word in self.weights}
        return {"score": sum(found.values()), **found}
