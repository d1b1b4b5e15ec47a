"""A program that knows nothing of svcd. Any other can take its place: svcd.toml has the command line.

`model.py fetch` gets the weights; `model.py serve PORT` answers POST /score, and GET /health once they are loaded.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

WEIGHTS = Path("weights.json")


def fetch() -> None:
    """A real one would download gigabytes here."""
    WEIGHTS.write_text(json.dumps({"great": 2.0, "love": 2.0, "good": 1.0, "slow": -1.0, "bad": -2.0}))


class Answers(BaseHTTPRequestHandler):
    weights: dict[str, float]

    def do_GET(self) -> None:
        if self.path == "/health":
            self._answer({"status": "ok"})
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        text = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"]
        self._answer({"score": sum(self.weights.get(word, 0.0) for word in text.lower().split())})

    def _answer(self, value: object) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def server(port: int) -> HTTPServer:
    """Load the weights, and listen."""
    Answers.weights = json.loads(WEIGHTS.read_text())
    return HTTPServer(("127.0.0.1", port), Answers)


if __name__ == "__main__":
    if sys.argv[1] == "fetch":
        fetch()
    else:
        server(int(sys.argv[2])).serve_forever()
