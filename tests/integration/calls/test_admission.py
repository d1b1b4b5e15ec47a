"""Many callers of a narrow service, and replicas of unlike speed, under a real `svcd up`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from running import RunningApp

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = tmp_path_factory.mktemp("crowd")
    shutil.copy(Path(__file__).with_name("crowd_services.py"), folder)
    (folder / "svcd.toml").write_text('[app]\nservice = "crowd_services:Crowd"\nhttp = "127.0.0.1:0"\n')
    with RunningApp(folder) as app:
        yield app.up().all_up()


def test_four_callers_with_64_calls_each_share_8_slots(app: RunningApp) -> None:
    status, done = app.post("rush", {"at_once": 64, "seconds": 2})
    assert status == 200, done
    assert app.post("counted") == (200, [8, sum(done), 0])  # the most inside; every call was run once and answered
    assert min(done) >= sum(done) / len(done) / 2, done


@pytest.mark.parametrize(
    ("dependency", "at_once", "seconds"),
    [("uneven", 1, 0.005), ("uneven", 4, 0.02), ("uneven", 32, 0.1), ("uneven_plainly", 8, 0.005)],
)
def test_of_two_replicas_the_quick_one_gets_most_calls(
    app: RunningApp, dependency: str, at_once: int, seconds: float
) -> None:
    # The more calls at once, the longer they are: what a crowd waits for its turn of a core is the same for both.
    asked = {"dependency": dependency, "at_once": at_once, "calls": 320, "seconds": seconds}
    status, got = app.post("spread", asked)
    assert status == 200, got
    assert sum(got.values()) == 320
    quick = next(count for replica, count in got.items() if "/0" in replica)
    assert quick >= 0.8 * 320, got
