"""A service that is a class, and asks one that is a program: model.py, or whatever svcd.toml says is run."""

from __future__ import annotations

import json
import urllib.request

import svcd


@svcd.service
class Judge:
    model = svcd.depends("Model")  # its URL, a str that is looked up each time: it follows restarts

    @svcd.api
    def judge(self, text: str) -> str:  # `def`: runs on a thread, where it may block
        request = urllib.request.Request(f"{self.model}/score", json.dumps({"text": text}).encode())
        with urllib.request.urlopen(request, timeout=5) as answer:
            score = json.load(answer)["score"]
        return "positive" if score > 0 else "negative" if score < 0 else "neutral"
