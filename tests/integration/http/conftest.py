"""Fixtures: a running app whose apis are all well-behaved, and one whose apis are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from http_app import running_http_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import RunningApp


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """An app whose entry has an api of every shape and two mounted applications."""
    with running_http_app(tmp_path_factory.mktemp("everything"), "Everything") as app:
        yield app


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The same with apis that fail, wait and go on for ever."""
    with running_http_app(tmp_path_factory.mktemp("odd"), "Odd") as app:
        yield app


@pytest.fixture
def http(everything: RunningApp) -> Iterator[httpx.Client]:
    """A client of the first one."""
    with httpx.Client(base_url=everything.url, timeout=30, trust_env=False) as client:
        yield client
