"""An open loop of requests over HTTP to a running app, from a thread of its own: no retries, and each one noted.

What `svcd bench` is for a service, this is for the whole way of a client: sent = answered + failed, whatever dies.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import trio

from svcd.client.asynchronous import AsyncClient
from svcd.measure.figures import Load
from svcd.measure.loops import Loop
from svcd_ipc.errors import CallError


@dataclass(frozen=True, slots=True)
class Noted:
    """One request; times are of CLOCK_MONOTONIC."""

    asked: float
    answered: float
    error: CallError | None = None

    def was_in_flight(self, since: float, until: float) -> bool:
        """Whether it was under way at some time of a span."""
        return self.asked <= until and self.answered >= since


class HttpLoad:
    """As a context: requests at a rate, until it is left; then `noted` has all of them.

    Args:
        url: Of the app.
        api: Which is called, with `args`.
        rate: Requests per second, however slow the answers come.
        timeout: Seconds that each may take.
        anew: Whether each request makes a connection of its own; else they are kept.
    """

    def __init__(
        self, url: str, api: str, args: dict[str, Any], *, rate: float, timeout: float = 60.0, anew: bool = False
    ) -> None:
        self._client = partial(AsyncClient, url, timeout=timeout, retries=0)
        self._api = api
        self._args = args
        self._anew = anew
        self._load = Load(seconds=math.inf, warm_up=0.0, rate=rate)
        self._thread = threading.Thread(target=lambda: trio.run(self._run), daemon=True)
        self._begun = threading.Event()
        self._loop: Loop
        self.noted: list[Noted] = []

    def __repr__(self) -> str:
        return f"<HttpLoad of {self._api} [{len(self.noted)} answered]>"

    def __enter__(self) -> Self:
        self._thread.start()
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        """Send no more, and wait for the answers to all that were sent."""
        self._loop.finish()
        self._thread.join()

    @property
    def failed(self) -> list[Noted]:
        """Those that were not answered."""
        return [each for each in self.noted if each.error is not None]

    async def _run(self) -> None:
        async with self._client() as kept:
            self._loop = Loop(self._load, lambda: self._ask(kept), time.monotonic)
            self._begun.set()
            await self._loop.run()

    async def _ask(self, kept: AsyncClient) -> int:
        asked, error = time.monotonic(), None
        client = self._client() if self._anew else kept
        try:
            await client.call(self._api, **self._args)
        except CallError as failure:
            error = failure
        finally:
            if self._anew:
                await client.aclose()
        self.noted.append(Noted(asked, time.monotonic(), error))
        return 0
