"""Fixtures: a running app, and clients of it over TCP, over its Unix socket, and by its name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trio

import svcd
from http_app import running_http_app

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from running import RunningApp


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    with running_http_app(tmp_path_factory.mktemp("odd"), "Odd") as app:
        yield app


@pytest.fixture(params=["tcp", "unix", "name"])
def address(request: pytest.FixtureRequest, app: RunningApp, monkeypatch: pytest.MonkeyPatch) -> str:
    """The app's address in each of its forms."""
    monkeypatch.setenv("SVCD_RUNTIME_DIR", str(app.runtime))
    return {"tcp": app.url, "unix": f"unix:{app.runtime}/http.sock", "name": app.name}[request.param]


@pytest.fixture
def client(address: str) -> Iterator[svcd.Client]:
    with svcd.Client(address) as client:
        yield client


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Run an async function of the backend's own loop."""

    def runner(function: Callable[[], Awaitable[Any]]) -> Any:
        return trio.run(function) if request.param == "trio" else asyncio.run(function())

    return runner
