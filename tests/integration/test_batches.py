"""Batches under `svcd up`: HTTP clients are run together and get their own rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
import time
import numpy as np
import svcd

@svcd.service
class Model:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    @svcd.api(batchable=True, max_batch_size=100)
    def squares(self, x: np.ndarray) -> np.ndarray:
        self.sizes.append(len(x))
        time.sleep(0.02)
        return x * x

    @svcd.api
    def seen(self) -> list[int]:
        return self.sizes
"""


def test_http_clients_share_runs_and_get_their_own_rows(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Model").up()

    def ask(number: int) -> list[tuple[int, Any]]:
        return [app.post("squares", {"x": [number] * (1 + number % 3)}) for _ in range(5)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    for number, told in enumerate(answers):
        assert told == [(200, [number * number] * (1 + number % 3))] * 5
    sizes = app.post("seen")[1]
    assert sum(sizes) == sum(5 * (1 + number % 3) for number in range(16))
    assert len(sizes) < 16 * 5 / 2
    assert app.post("squares", {"x": 3})[0] == 400
    assert "200" in app.svcd("config", "--explain").stdout.partition("max_concurrency")[2].partition("\n")[0]
