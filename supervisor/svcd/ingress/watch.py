"""Tasks for what takes long, and none for what does not.

Whether a client is still there has to be watched while its request is worked on, which takes a task that reads. Most
requests are over before a client could have gone, and starting and cancelling a task for each of them is a third of
what a small request costs. So a watch begins only once something has lasted for a tick.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TICK = 0.02
"""Seconds; a watch begins after one to two of them."""


class Watch:
    """Runs the watches of one process."""

    def __init__(self) -> None:
        self._new: set[Watching] = set()
        self._seen: set[Watching] = set()
        self._wake = trio.Event()

    def __repr__(self) -> str:
        return f"<Watch [{len(self._new) + len(self._seen)} soon]>"

    def over(self, action: Callable[[], Awaitable[None]]) -> Watching:
        """Run `action` unless its watching ends soon. It must not raise."""
        watching = Watching(self, action)
        if not self._new and not self._seen:
            self._wake.set()
        self._new.add(watching)
        return watching

    def forget(self, watching: Watching) -> None:
        """Drop one that has not begun."""
        self._new.discard(watching)
        self._seen.discard(watching)

    async def run(self) -> None:
        """Begin those that have lasted for a tick, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                if not self._new and not self._seen:
                    self._wake = trio.Event()
                    await self._wake.wait()
                await trio.sleep(TICK)
                for watching in self._seen:
                    watching.begin(nursery)
                self._seen, self._new = self._new, set()


class Watching:
    """One watch; ends with its `end`, or by itself when its action returns."""

    __slots__ = ("_action", "_ended", "_scope", "_watch")

    def __init__(self, watch: Watch, action: Callable[[], Awaitable[None]]) -> None:
        self._watch = watch
        self._action = action
        self._scope: trio.CancelScope | None = None
        self._ended: trio.Event | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """Run the action from now on."""
        self._scope, self._ended = trio.CancelScope(), trio.Event()
        nursery.start_soon(self._run, self._scope, self._ended)

    async def _run(self, scope: trio.CancelScope, ended: trio.Event) -> None:
        try:
            with scope:
                await self._action()
        finally:
            ended.set()

    def end(self) -> None:
        """Watch no more: what runs is cancelled."""
        if self._scope is None:
            self._watch.forget(self)
        else:
            self._scope.cancel()

    async def until_ended(self) -> None:
        """End it, and wait until its action does nothing any more."""
        self.end()
        if self._ended is not None:
            with trio.CancelScope(shield=True):
                await self._ended.wait()
