"""`svcd bench` against a running app."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING

from running import PATIENCE, SVCD, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from running import RunningApp

SERVICE = """
    from collections.abc import AsyncIterator

    import svcd


    @svcd.service(traffic={"max_concurrency": 2})
    class Words:
        @svcd.api
        async def split(self, text: str) -> list[str]:
            return text.split()

        @svcd.api
        async def letters(self, text: str) -> AsyncIterator[str]:
            for letter in text:
                yield letter

        @svcd.api
        async def size(self, data: bytes) -> int:
            return len(data)

        @svcd.api
        async def bad(self) -> None:
            raise ValueError("never")
"""
TOML = """
    [services.Words]
    scaling = { min_replicas = 2 }
"""
SHORT = ("--for", "0.2s", "--warm-up", "0", "--json")


def test_bench(make_app: Callable[..., RunningApp]) -> None:
    app = make_app(SERVICE, TOML, entry="Words")
    with app.up():
        # Ready is one of each service; the figures are to be of both.
        wait_until(lambda: [row["state"] for row in app.rows() if row["service"] == "Words"] == ["ready"] * 2, "both")
        longer = ("--in-flight", "8", *SHORT, "--for", "1s")
        closed = json.loads(app.svcd("bench", "Words.split", '{"text": "a b"}', *longer).stdout)
        assert closed["answered"] == closed["calls"] > 8
        assert closed["errors"] == {}
        assert closed["replicas"] == 2
        assert closed["latency_ms"]["min"] <= closed["latency_ms"]["p50"] <= closed["latency_ms"]["max"]

        opened = json.loads(app.svcd("bench", "words.split", '{"text": "a"}', "--rate", "100", *SHORT).stdout)
        assert (opened["loop"], opened["calls"], opened["answered"]) == ("open", 20, 20)

        stream = json.loads(app.svcd("bench", "Words.letters", '{"text": "abc"}', *SHORT).stdout)
        assert stream["items"] == 3 * stream["answered"] > 0

        raw = json.loads(app.svcd("bench", "Words.size", "xyz", "--type", "image/png", *SHORT).stdout)
        assert raw["answered"] == raw["calls"] > 0

        failed = app.svcd("bench", "Words.bad", "--for", "0.1s", "--warm-up", "0", code=1).stdout
        assert "RemoteError: ValueError: never" in failed

        assert "no api spilt" in app.svcd("bench", "Words.spilt", code=4).stderr
        assert "no service Worlds" in app.svcd("bench", "Worlds.split", code=4).stderr
        assert "keyword arguments" in app.svcd("bench", "Words.split", "[1]", code=2).stderr
        assert "give one of them" in app.svcd("bench", "Words.split", "--rate", "1", "--in-flight", "1", code=2).stderr

        endless = [*SVCD, "bench", *app.options, "Words.split", '{"text": "a"}', "--for", "1h", "--warm-up", "0"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(endless, env=app.env, text=True, **pipes) as running:
            try:
                assert running.stderr.readline() == "Words.split: 1 in flight for 3600 s after 0 s of warm-up\n"
                running.send_signal(signal.SIGINT)
                early, _ = running.communicate(timeout=PATIENCE)
            finally:
                running.kill()
        assert early.startswith("answered  ")
