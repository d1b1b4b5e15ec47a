"""A real keeper for each test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from kept_app import HERE, KeptApp, until

from leftovers import assert_none_left, new_mark
from svcd.host.keeper_link import KeeperLink
from svcd.host.processes import children

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import trio


@pytest.fixture
async def app(tmp_path: Path, nursery: trio.Nursery) -> AsyncIterator[KeptApp]:
    mark = new_mark()
    ours, theirs = socket.socketpair()
    with theirs:
        driver = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond, and the driver must be a child of this thread
            [sys.executable, HERE / "driver.py", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **mark},
        )
    link = KeeperLink(ours)
    nursery.start_soon(link.run)
    app = KeptApp(driver, link, tmp_path, mark)
    try:
        await until(lambda: any(children(guard) for guard in children(driver.pid)))
        yield app
        await app.close()
    finally:
        app.remember()
        if driver.poll() is None:
            driver.kill()
        driver.wait()
        assert_none_left(mark, app.known)
