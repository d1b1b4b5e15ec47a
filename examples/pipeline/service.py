"""Which topic is a text about? Three steps with very different needs, and the service that calls them in turn.

What the decorators say are the developer's defaults; svcd.toml has the operator's word.
"""

from __future__ import annotations

import html
import json
import os
import re
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

import svcd


def about() -> dict[str, str]:
    """What this process has been given. Keys are told by a fingerprint, as nobody should see them."""
    given = {name: value for name, value in os.environ.items() if name.startswith(("FEATURE_", "MODEL_"))}
    keys = {name: sha256(value.encode()).hexdigest()[:8] for name, value in os.environ.items() if "API_KEY" in name}
    return {**given, **keys, "devices": os.environ["CUDA_VISIBLE_DEVICES"] or "cpu"}


@svcd.service(scaling={"min_replicas": 1, "max_replicas": 1}, envs={"FEATURE_STRIP_HTML": "off"})
class Preprocess:
    """On CPUs: always as many replicas, since its load is steady."""

    def __init__(self) -> None:
        self.strips_html = os.environ["FEATURE_STRIP_HTML"] == "on"

    @svcd.api
    async def words(self, text: str) -> list[str]:
        plain = html.unescape(re.sub(r"<[^>]*>", " ", text)) if self.strips_html else text
        return re.findall(r"[a-z]+", plain.lower())

    @svcd.api
    async def about(self) -> dict[str, str]:
        return about()


@svcd.service(
    resources={"gpu": 1, "memory": "8Gi"},
    scaling={"min_replicas": 1, "max_replicas": 2},
    traffic={"max_concurrency": 8, "timeout": "5s"},
    envs={"MODEL_PATH": "models/topics.json", "FEATURE_BIGRAMS": "off"},
)
class Inference:
    """On a GPU of its own; the model is read once, when a replica starts."""

    def __init__(self) -> None:
        self.weights: dict[str, dict[str, float]] = json.loads(Path(os.environ["MODEL_PATH"]).read_text("utf-8"))
        self.sees_pairs = os.environ["FEATURE_BIGRAMS"] == "on"

    @svcd.api
    def scores(self, words: list[str]) -> dict[str, float]:
        terms = words + ([f"{a} {b}" for a, b in pairwise(words)] if self.sees_pairs else [])
        return {topic: sum(known.get(term, 0.0) for term in terms) for topic, known in self.weights.items()}

    @svcd.api
    async def about(self) -> dict[str, str]:
        return about()


@svcd.service
class Postprocess:
    """Next to nothing: it asks for nothing."""

    def __init__(self) -> None:
        self.answers_all = os.environ.get("FEATURE_ALL_SCORES") == "on"

    @svcd.api
    async def answer(self, scores: dict[str, float]) -> dict[str, str | dict[str, float]]:
        best = max(scores, key=lambda topic: scores[topic])
        topic = best if scores[best] > 0 else "unknown"
        return {"topic": topic, "scores": scores} if self.answers_all else {"topic": topic}

    @svcd.api
    async def about(self) -> dict[str, str]:
        return about()


@svcd.service
class Pipeline:
    preprocess = svcd.depends(Preprocess)
    inference = svcd.depends(Inference)
    postprocess = svcd.depends(Postprocess)

    @svcd.api
    async def classify(self, text: str) -> dict[str, str | dict[str, float]]:
        words = await self.preprocess.words(text=text)
        scores = await self.inference.scores.to_async(words=words)
        return await self.postprocess.answer(scores=scores)

    @svcd.api
    async def about(self) -> dict[str, dict[str, str]]:
        steps = (self.preprocess, self.inference, self.postprocess)
        told = await svcd.gather(*(step.about() for step in steps))
        return {**dict(zip(("Preprocess", "Inference", "Postprocess"), told, strict=True)), "Pipeline": about()}
