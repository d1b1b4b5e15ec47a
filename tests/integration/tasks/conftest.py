"""Fixtures: a running app with tasks, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from task_app import SERVICE

from running import RunningApp, write_app

if TYPE_CHECKING:
    from collections.abc import Iterator

TOML = """
    [app.tasks]
    max_queued = 50
    result_ttl = "1h"
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app."""
    folder = write_app(tmp_path_factory.mktemp("work"), SERVICE, entry="Work")
    with (folder / "svcd.toml").open("a") as toml:
        toml.write(TOML.replace("\n    ", "\n"))
    with RunningApp(folder).up() as app:
        yield app


@pytest.fixture
def http(work: RunningApp) -> Iterator[httpx.Client]:
    """A client."""
    with httpx.Client(base_url=work.url, timeout=30, trust_env=False) as client:
        yield client
