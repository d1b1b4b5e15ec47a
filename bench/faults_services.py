"""Two services whose replicas bench/faults.py breaks while requests come."""

from __future__ import annotations

import trio

import svcd


@svcd.service(liveness={"period": 0.25, "timeout": 1, "threshold": 2}, traffic={"timeout": 10})
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


@svcd.service(liveness={"period": 0.25, "timeout": 1, "threshold": 2}, traffic={"timeout": 10})
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
