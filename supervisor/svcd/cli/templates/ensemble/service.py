"""An ensemble: two models judge the same input at the same time, and a vote makes one answer of theirs."""

from __future__ import annotations

import svcd


@svcd.service
class Words:
    def __init__(self) -> None:  # once in each process, before it is ready: load the real model here
        self.weights = {"great": 0.9, "good": 0.7, "slow": 0.3, "bad": 0.1}

    @svcd.api
    async def judge(self, text: str) -> float:
        known = [self.weights[word] for word in text.lower().strip("!?").split() if word in self.weights]
        return sum(known) / len(known) if known else 0.5


@svcd.service
class Marks:
    @svcd.api
    async def judge(self, text: str) -> float:
        return 0.5 + 0.1 * min(text.count("!"), 5) - 0.1 * min(text.count("?"), 5)


@svcd.service
class Ensemble:
    words = svcd.depends(Words)
    marks = svcd.depends(Marks)

    @svcd.api
    async def judge(self, text: str) -> dict[str, float]:
        words, marks = await svcd.gather(self.words.judge(text=text), self.marks.judge(text=text))
        return {"words": words, "marks": marks, "together": round(0.75 * words + 0.25 * marks, 3)}
