"""The app whose daemon dies, or leaves, and what the tests of it share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import PATIENCE

if TYPE_CHECKING:
    from running import RunningApp

SERVICE = """
    import os

    import svcd

    @svcd.service
    class Twice:
        @svcd.api
        def double(self, x: int) -> int:
            return 2 * x

    @svcd.service
    class Other:
        @svcd.api
        async def who(self) -> int:
            return os.getpid()

    @svcd.service
    class Entry:
        twice = svcd.depends(Twice)
        other = svcd.depends(Other)

        @svcd.api
        async def work(self, x: int) -> int:
            return await self.twice.to_async.double(x=x)

        @svcd.api
        async def who(self) -> int:
            return await self.other.who()
"""
TOML = """
    orphan_grace = "30s"
    [services.Twice]
    scaling = { min_replicas = 2 }
"""


def kill_daemon(app: RunningApp) -> None:
    assert app.daemon is not None
    app.processes()  # from now on they are known by pid
    app.daemon.kill()
    app.daemon.wait(PATIENCE)
