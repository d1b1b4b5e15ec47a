"""An app with tasks of every kind; each run leaves a line in a file, so that a test can count them."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SERVICE = """
    import os
    import time
    from pathlib import Path

    import numpy as np
    import svcd
    import trio

    RUNS = Path(__file__).parent / "runs"

    def note(line):
        # One write with O_APPEND: whole, whatever kills the process.
        with open(RUNS, "ab", buffering=0) as file:
            file.write(f"{line}\\n".encode())

    @svcd.service
    class Helper:
        @svcd.task
        async def help(self, x: int) -> int:
            return x + 1

    @svcd.service(traffic={"timeout": 4, "max_concurrency": 4, "max_queue": 4}, threads=2)
    class Work:
        helper = svcd.depends(Helper)
        inside = 0
        most = 0

        @svcd.task
        async def once(self, key: str, seconds: float = 0.0) -> str:
            \"\"\"Done at most once.\"\"\"
            note(f"begin {key}")
            await trio.sleep(seconds)
            note(f"end {key}")
            return key.upper()

        @svcd.task(idempotent=True, retries=100)
        def again(self, key: str, seconds: float = 0.0) -> dict[str, str]:
            note(f"begin {key}")
            time.sleep(seconds)
            note(f"end {key}")
            return {"key": key}

        @svcd.task(idempotent=True)
        async def fatal(self, key: str) -> None:
            note(f"begin {key}")
            os.kill(os.getpid(), 9)

        @svcd.task(timeout=0.2)
        async def limited(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                note("limited ended")

        @svcd.task
        async def crowd(self, seconds: float) -> int:
            self.inside += 1
            self.most = max(self.most, self.inside)
            try:
                await trio.sleep(seconds)
            finally:
                self.inside -= 1
            return self.most

        @svcd.task
        async def fail(self, why: str) -> None:
            if why == "argument":
                raise svcd.InvalidArgument("no", [{"field": "why", "message": "no"}])
            raise ValueError(why)

        @svcd.task
        async def double(self, x: np.ndarray) -> np.ndarray:
            return x * 2

        @svcd.task
        async def picture(self, image: bytes) -> bytes:
            return image[::-1]

        @svcd.task
        async def through(self, x: int) -> int:
            return await self.helper.help(x=x) + svcd.current_call().attempt

        @svcd.api
        async def plain(self) -> str:
            return "plain"
"""


def runs(folder: Path, kind: str = "begin") -> Counter[str]:
    """Return how often each key began, or ended."""
    path = folder / "runs"
    lines = path.read_text().splitlines() if path.exists() else []
    return Counter(line.split(" ", 1)[1] for line in lines if line.startswith(f"{kind} "))
