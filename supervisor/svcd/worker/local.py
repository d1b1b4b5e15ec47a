"""`svcd.local`: an app in this process, for tests and notebooks."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

import outcome
import trio

from svcd.worker.composition import Composition

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from svcd.worker.proxy import Proxy


def local(app: type | str, *, replace: Mapping[type | str, Any] | None = None) -> LocalApp:
    """Run an app in this process, under the rules that hold between processes.

    Arguments and results go through the codec (arrays arrive read-only), inputs are validated, errors are typed, and
    deadlines, cancellation and `max_concurrency` hold. There is one instance per service, made in dependency order and
    closed in reverse. Of the configuration, what the decorators say counts; svcd.toml is not read.

        with svcd.local(Pipeline, replace={Features: FakeFeatures}) as app:
            app.classify(image=...)               # every api blocks
            app[Vote].decide(ballots=...)         # any service of the app

        async with svcd.local(Pipeline) as app:   # under trio
            await app.classify(image=...)         # every api is awaited

    Args:
        app: The entry service, as a class or `module:Class`.
        replace: What stands in for dependencies, by class, service name or `module:Class`: a service class, any other
            class, or an instance. Unless it is a service, it has the apis and annotations of what it replaces.

    Raises:
        svcd.app.load.LoadError: The dependency graph cannot be read.
    """
    return LocalApp(app, replace or {})


class LocalApp:
    """An app in this process; the apis of its entry are attributes. Enter it with `with`, or `async with` in trio."""

    def __init__(self, app: type | str, replace: Mapping[type | str, Any]) -> None:
        self._composition = Composition(app, replace)
        self._colour = ""
        self._entry: Proxy | None = None
        self._thread: threading.Thread | None = None
        self._stop: tuple[trio.lowlevel.TrioToken, trio.Event] | None = None
        self._context: AbstractAsyncContextManager[None] | None = None
        self._result: SimpleQueue[outcome.Outcome[None]] = SimpleQueue()

    def __repr__(self) -> str:
        return f"<svcd.local {self._composition}>"

    def __getattr__(self, name: str) -> Any:
        if self._entry is None:
            raise AttributeError(f"{name}: the app runs only inside `with svcd.local(...) as app:`")
        return getattr(self._entry, name)

    def __getitem__(self, service: type | str) -> Proxy:
        """Return a service's apis, by class, name or `module:Class`."""
        return self._composition.proxy(service, colour=self._colour)

    def __enter__(self) -> Self:
        if trio.lowlevel.in_trio_run():
            raise RuntimeError("this is a trio task, which `with` would block: use `async with svcd.local(...)`")
        self._thread = threading.Thread(target=self._run_thread, name="svcd.local", daemon=True)
        self._thread.start()
        try:
            self._result.get().unwrap()
        except BaseException:
            self._thread.join()
            raise
        self._open("sync")
        return self

    def __exit__(self, *_: object) -> None:
        self._entry = None
        if self._stop is not None and self._thread is not None:
            token, event = self._stop
            token.run_sync_soon(event.set)
            self._thread.join()
            self._result.get().unwrap()

    async def __aenter__(self) -> Self:
        self._context = self._running()
        await self._context.__aenter__()
        self._open("async")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._entry = None
        if self._context is not None:
            await self._context.__aexit__(kind, error, traceback)

    def _open(self, colour: str) -> None:
        self._colour = colour
        self._entry = self._composition.proxy(None, colour=colour)

    def _run_thread(self) -> None:
        result: outcome.Outcome[None] = outcome.capture(trio.run, self._live)
        self._result.put(result)

    async def _live(self) -> None:
        event = trio.Event()
        async with self._running():
            self._stop = (trio.lowlevel.current_trio_token(), event)
            self._result.put(outcome.Value(None))
            await event.wait()

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[None]:
        """Start and stop the composition around the body, whose error comes out as it is and in no group."""
        error: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                await self._composition.start(nursery)
                yield
            except BaseException as raised:  # noqa: BLE001  (raised below, outside of the nursery)
                error = raised
            try:
                await self._composition.stop()
            except Exception as raised:  # noqa: BLE001  (as above)
                error = error or raised
            nursery.cancel_scope.cancel()
        if error is not None:
            raise error
