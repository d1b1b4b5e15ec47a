"""Batches under `svcd up`: HTTP clients are run together and get their own rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

SERVICE = """
import time
from pathlib import Path

import numpy as np
import svcd

GO = Path(__file__).with_name("go")

@svcd.service
class Model:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    @svcd.api(batchable=True, max_batch_size=100)
    def squares(self, x: np.ndarray) -> np.ndarray:
        self.sizes.append(len(x))
        while not GO.exists():
            time.sleep(0.005)
        return x * x

    @svcd.api
    def seen(self) -> list[int]:
        return self.sizes
"""


def asked(app: RunningApp) -> int:
    """How many calls are in a run or wait for one."""
    row = app.row("Model")
    return int(row["in_flight"] + row["queued"])


def test_http_clients_share_runs_and_get_their_own_rows(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Model").up()

    def ask(number: int) -> tuple[int, Any]:
        return app.post("squares", {"x": [number] * (1 + number % 3)})

    with ThreadPoolExecutor(16) as pool:
        for _ in range(5):
            answers = [pool.submit(ask, number) for number in range(16)]
            try:
                wait_until(lambda: asked(app) == 16, "all of them to be there")
            finally:
                (app.folder / "go").touch()
            for number, told in enumerate(answers):
                assert told.result() == (200, [number * number] * (1 + number % 3))
            (app.folder / "go").unlink()
    sizes = app.post("seen")[1]
    assert sum(sizes) == sum(5 * (1 + number % 3) for number in range(16))
    assert len(sizes) < 16 * 5 / 2
    (app.folder / "go").touch()
    assert app.post("squares", {"x": 3})[0] == 400
    assert "200" in app.svcd("config", "--explain").stdout.partition("max_concurrency")[2].partition("\n")[0]
