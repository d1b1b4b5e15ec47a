"""Fallbacks, errors of the app's own types and blocking calls from a user's thread, between real processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

APP = """
    import os
    import threading
    from collections.abc import AsyncIterator

    import svcd


    class OutOfStockError(Exception):
        def __init__(self, item: str, left: int) -> None:
            super().__init__(item, left)
            self.left = left


    @svcd.service
    class Store:
        @svcd.api
        def take(self, item: str, count: int) -> int:
            if count > 3:
                raise OutOfStockError(item, 3)
            return count

        @svcd.api
        async def boxes(self) -> AsyncIterator[int]:
            yield 1
            raise OutOfStockError("boxes", 0)


    @svcd.service
    class Broken:
        def __init__(self) -> None:
            if "allowed" not in os.environ:
                raise RuntimeError("no model file")

        @svcd.api
        def price(self, item: str) -> str:
            return "exact"


    @svcd.service
    class Estimate:
        @svcd.api
        async def price(self, item: str) -> str:
            return f"about ten, {item}"


    @svcd.service
    class Shop:
        store = svcd.depends(Store)
        broken = svcd.depends(Broken, fallback=Estimate, optional=True)

        @svcd.api
        async def buy(self, item: str, count: int) -> str:
            try:
                return f"took {await self.store.to_async.take(item=item, count=count)}"
            except OutOfStockError as error:
                told = "raise OutOfStockError" in error.__cause__.remote_traceback
                return f"only {error.left} of {error.args[0]}, traceback: {told}"

        @svcd.api
        async def count_boxes(self) -> list[str]:
            seen = []
            try:
                async for box in self.store.boxes():
                    seen.append(str(box))
            except OutOfStockError as error:
                seen.append(repr(error))
            return seen

        @svcd.api
        async def price(self, item: str) -> str:
            return await self.broken.to_async.price(item=item)

        @svcd.api
        def from_thread(self) -> list[int]:
            found = []
            thread = threading.Thread(target=lambda: found.append(self.store.take(item="x", count=2)))
            thread.start()
            thread.join()
            return found
"""


def test_faults_are_values(make_app: MakeApp) -> None:
    app = make_app(APP, entry="Shop").up()
    assert app.post("buy", {"item": "bolts", "count": 2}) == (200, b"took 2")
    assert app.post("buy", {"item": "bolts", "count": 9}) == (200, b"only 3 of bolts, traceback: True")
    assert app.post("count_boxes") == (200, ["1", "OutOfStockError('boxes', 0)"])
    assert app.post("from_thread") == (200, [2])
    wait_until(lambda: app.row("Broken")["state"] == "failed", "the broken service to be given up")
    assert app.post("price", {"item": "bolts"}) == (200, b"about ten, bolts")
