"""Two services whose replicas bench/faults.py, and the tests of its faults, break while requests come."""

from __future__ import annotations

import trio

import svcd


@svcd.service
class Work:
    """A step of 5 ms."""

    @svcd.api(idempotent=True)
    async def again(self, x: int) -> int:
        """Do it; twice does no harm."""
        await trio.sleep(0.005)
        return x

    @svcd.api
    async def once(self, x: int) -> int:
        """Do it; who calls it must not assume that twice does no harm."""
        await trio.sleep(0.005)
        return x


@svcd.service
class Entry:
    """Hands on."""

    work = svcd.depends(Work)

    @svcd.api(idempotent=True)
    async def again(self, x: int) -> int:
        """As Work's."""
        return await self.work.again(x=x)

    @svcd.api
    async def once(self, x: int) -> int:
        """As Work's."""
        return await self.work.once(x=x)
