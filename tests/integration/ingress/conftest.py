"""Fixtures: a running ingress, and a connection to it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from scripted_ingress import start

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    import trio
    from http_client import Http
    from scripted_ingress import Running


@pytest.fixture
async def run(tmp_path: Path, nursery: trio.Nursery) -> Callable[..., Awaitable[Running]]:
    """Start an ingress; once per test."""
    return partial(start, str(tmp_path / "entry.sock"), nursery)


@pytest.fixture
async def ingress(run: Callable[..., Awaitable[Running]]) -> Running:
    """A running ingress whose entry is ready and has the api `echo`."""
    return await run()


@pytest.fixture
async def http(ingress: Running) -> AsyncIterator[Http]:
    """A connection to it."""
    async with await ingress.connect() as http:
        yield http
