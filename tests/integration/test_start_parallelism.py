"""`start_parallelism`: replicas initialise one after the other, and say what they wait for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
    import time
    from pathlib import Path

    import svcd

    HERE = Path(__file__).parent

    def load() -> None:
        began = time.monotonic()
        while not (HERE / "go").exists():
            time.sleep(0.01)
        time.sleep(0.05)
        with (HERE / "turns").open("a") as turns:
            turns.write(f"{began} {time.monotonic()}\\n")

    @svcd.service
    class Left:
        def __init__(self) -> None:
            load()

    @svcd.service
    class Right:
        def __init__(self) -> None:
            load()

    @svcd.service
    class Entry:
        left = svcd.depends(Left)
        right = svcd.depends(Right)

        @svcd.api
        async def ping(self) -> int:
            return 1
"""
TOML = """
    [services.Left]
    scaling = { min_replicas = 2, max_replicas = 2 }
"""


def test_starts_take_turns(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry", options=("--set", "app.start_parallelism=1")).up(wait=False)
    loading = ("Left", "Right")

    def reasons() -> list[str]:
        return [row["reason"] for row in app.rows() if row["service"] in loading] if "svcd" in app.stderr else []

    wait_until(lambda: sum("waiting for its turn to start, after " in reason for reason in reasons()) == 2, "turns")
    (app.folder / "go").touch()
    wait_until(lambda: "ready after" in app.stderr, "the app to be ready")
    wait_until(lambda: all(row["state"] == "ready" for row in app.rows()), "all to be ready")
    text = Path(app.folder / "turns").read_text()
    turns = sorted(tuple(map(float, line.split())) for line in text.splitlines())
    assert len(turns) == 3
    assert all(before[1] <= after[0] for before, after in pairwise(turns))
