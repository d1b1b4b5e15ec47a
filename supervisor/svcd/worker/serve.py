"""One live service: its instance, its apis, and the slots that calls take.

Admission is held here, against all callers together: a call takes a slot before it is started and gives it back when
the code that works for it has really ended, which for an abandoned `def` api is later than its caller's answer.

Nothing here waits: see `running`.
"""

from __future__ import annotations

import inspect
from functools import partial
from math import inf
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.mounts import mounts_of
from svcd.app.nearest import nearest
from svcd.app.schemas import schemas_of
from svcd.worker import running
from svcd.worker.blocking import BlockingCall
from svcd.worker.portal import CallCancelled
from svcd.worker.running import FACES
from svcd_ipc.errors import BadResult, RemoteError, ServiceUnavailable, UnknownApi

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from svcd.app.apis import ApiDeclaration, Batching
    from svcd.app.schemas import ApiSchema
    from svcd.worker.aio import AsyncioSide
    from svcd.worker.asgi import MountedApp
    from svcd.worker.batch import Batcher
    from svcd.worker.pulse import Pulse
    from svcd.worker.thread import ServiceThreads
    from svcd_ipc.channel import IncomingCall

SCHEMA = "svcd.schema"
CHECK = "svcd.check"
"""Whether a request that is to be run later holds what its api takes."""


class Slot:
    """One admitted call; given back when all who hold it have let go."""

    __slots__ = ("_holders", "_service")

    def __init__(self, service: LiveService) -> None:
        self._service = service
        self._holders = 1

    def hold(self) -> None:
        """Keep the slot beyond the handler."""
        self._holders += 1

    def drop(self) -> None:
        """Let go; the last one gives the slot back."""
        self._holders -= 1
        if self._holders == 0:
            self._service.freed()


class LiveApi:
    """One api of a live service, ready to run.

    Most are *plain*: one value of an `async def`. Nothing that works for such a call outlives its handler.
    """

    def __init__(
        self, declaration: ApiDeclaration, schema: ApiSchema, method: Callable[..., Any], threads: ServiceThreads
    ) -> None:
        self.declaration = declaration
        self.schema = schema
        self.method = method
        self.threads = threads
        self.is_plain = declaration.is_async and not (declaration.is_stream or declaration.batching)
        self.is_blocking = not (declaration.is_async or declaration.is_stream or declaration.batching or schema.inputs)
        """One value of a `def`, of arguments that are no streams."""
        self.batcher = self._new_batcher(declaration.batching) if declaration.batching else None

    def __repr__(self) -> str:
        return f"<LiveApi {self.schema.title}>"

    def run(self, args: dict[str, Any], slot: Slot) -> Coroutine[Any, Any, Any]:
        """Await this to run with validated arguments; a stream api gives an async iterator that holds the slot."""
        return running.run(self, args, slot)

    def checked(self, value: Any) -> Any:
        """Return a result if it is one value of the declared kind. Raises BadResult."""
        if type(value) in self.schema.sure_kinds:
            return value
        if hasattr(value, "__anext__") or hasattr(value, "__next__"):
            raise BadResult(f"{self.schema.title} returned an iterator; a stream api is one that yields itself")
        if inspect.iscoroutine(value):
            value.close()
            raise BadResult(
                f"{self.schema.title} returned a call that was not made; in `def` code it is to_sync.api(...)"
            )
        check = self.schema.check
        return value if check is None else check(value)

    def _new_batcher(self, batching: Batching) -> Batcher:
        from svcd.worker.batch import Batcher  # noqa: PLC0415  (most services have no use for it)
        from svcd.worker.batch_rows import Rows  # noqa: PLC0415  (as above)

        is_async = self.declaration.is_async
        return Batcher(
            Rows(self.schema.title, batching.axis_in, batching.axis_out),
            batching,
            partial(running.on_loop, self.method)
            if is_async
            else partial(running.on_thread, self.method, self.threads),
            lanes=1 if is_async else self.threads.count,
            halves=self.declaration.idempotent,
            nursery=self.threads.portal.nursery,
        )


class LiveService:
    """A service in this process: admits calls and runs them."""

    def __init__(
        self, name: str, threads: ServiceThreads, *, max_concurrency: int, side: AsyncioSide | None = None
    ) -> None:
        self.name = name
        self.threads = threads
        self.side = side
        """The asyncio loop on which its `async def` code runs; without one it runs on trio."""
        self.max_concurrency = max_concurrency
        self.taken = 0
        """Slots in use."""
        self.pulse: Pulse | None = None
        """Where calls are noted, in a process that has a pulse."""
        self.timeout = inf
        """Seconds after which a call without a deadline counts as given up."""
        self.parked = 0
        """Calls from outside that wait for a slot, see `svcd.worker.lobby`."""
        self.lined_up = 0
        """Calls from within the process that wait for a slot, see `svcd.worker.local_caller`."""
        self.on_freed: Callable[[], None] | None = None
        """Told that a slot was given back while somebody waits for one."""
        self.idle: trio.Event | None = None
        """Set when no slot is taken, in a service that drains."""
        self.apis: dict[str, LiveApi] = {}
        self._batchers: list[Batcher] = []
        self.instance: Any = None
        self.mounted: dict[str, MountedApp] = {}
        """ASGI applications by path."""

    def __repr__(self) -> str:
        return f"<LiveService {self.name} [{self.taken} of {self.max_concurrency} calls]>"

    def attach(self, instance: Any) -> None:
        """Serve the apis of this instance, whose `__init__` may still have to run."""
        self.instance = instance
        for schema in schemas_of(type(instance), self.name).values():
            self.add(schema.declaration, schema, getattr(instance, schema.declaration.attribute))
        if mounts := mounts_of(type(instance)):
            from svcd.worker.asgi import MountedApp  # noqa: PLC0415  (most services have none)

            nursery = self.threads.portal.nursery
            self.mounted = {mount.path: MountedApp(mount, nursery, self.side) for mount in mounts}

    def add(self, declaration: ApiDeclaration, schema: ApiSchema, method: Callable[..., Any]) -> None:
        """Serve one api."""
        if self.side is not None and declaration.is_async:
            from svcd.worker.aio_items import adapted  # noqa: PLC0415  (where asyncio is wanted)

            method = adapted(method, self.side, is_stream=declaration.is_stream, inputs=schema.inputs)
        api = self.apis[declaration.name] = LiveApi(declaration, schema, method, self.threads)
        if api.batcher is not None:
            self._batchers.append(api.batcher)

    def warm(self) -> None:
        """Build what validates calls, so that the first one need not. Raises TypeError for a bad annotation."""
        for api in self.apis.values():
            _ = api.schema.validate, api.schema.rebuild, api.schema.check, api.schema.sure_kinds

    def run_hooks(self, moment: str) -> Coroutine[Any, Any, None]:
        """Await this to run the `startup` or `shutdown` hooks one after the other, each in its own colour.

        Applications live within: they start after the last hook of startup and stop before the first of shutdown.
        """
        return running.run_hooks(self, moment)

    @property
    def is_draining(self) -> bool:
        """Whether it admits nothing more from outside."""
        return self.idle is not None

    def admit(self, call: IncomingCall) -> bool:
        """Take a slot for a call from outside, or refuse it; questions about the service itself take none."""
        if self.idle is not None and self._takes_slot(call):
            return False
        return self.take(call)

    def take(self, call: IncomingCall) -> bool:
        """Take a slot for a call from within the process, which goes on calling while it drains; else as `admit`."""
        if call.api not in self.apis and not self._takes_slot(call):
            return True
        if self.taken >= self.max_concurrency:
            return False
        self.taken += 1
        if self.pulse is not None:
            self.pulse.begin(call.clock() + self.timeout if call.deadline is None else call.deadline)
        return True

    def slot(self) -> Slot:
        """Return the slot of a call that was admitted, for all who work for it."""
        return Slot(self)

    def release(self, call: IncomingCall) -> None:
        """Take back the slot of a call that was admitted and then ended before it was begun."""
        if self._takes_slot(call):
            self.freed()

    def _takes_slot(self, call: IncomingCall) -> bool:
        return call.api in self.apis or call.api in FACES

    def freed(self) -> None:
        """Take a slot back."""
        self.taken -= 1
        if self.pulse is not None:
            self.pulse.end()
        if (self.parked or self.lined_up) and self.on_freed is not None:
            self.on_freed()
        if self.idle is not None and self.taken == 0:
            self.idle.set()

    def drain(self) -> Coroutine[Any, Any, None]:
        """Await this to admit nothing more, until no slot is taken."""
        return running.drain(self)

    def load(self) -> tuple[int, int]:
        """Return (calls running, calls waiting for a slot, for a thread, or for the batch before theirs)."""
        if not self.threads.pending and not self._batchers:
            return self.taken, self.parked
        queued = self.threads.queued
        if self._batchers:
            queued += sum(batcher.waiting for batcher in self._batchers)
        queued = min(queued, self.taken)
        return self.taken - queued, queued + self.parked

    def health(self) -> dict[str, Any]:
        """Return what the daemon asks for."""
        in_flight, queued = self.load()
        return {"in_flight": in_flight, "queued": queued, "threads_stuck": self.threads.stuck}

    def handle(self, call: IncomingCall) -> Coroutine[Any, Any, Any]:
        """Await this to run an admitted call for its value, or for an async iterator where it is a stream."""
        return running.handle(self, call)

    # Plain calls, as `svcd_ipc.calls.Direct` has them

    def begin(self, call: IncomingCall) -> Coroutine[Any, Any, Any] | None:
        """Return what runs an admitted call, None where it is `handle`. Raises InvalidArgument."""
        api = self.apis.get(call.api)
        if api is None or not api.is_plain:
            return None
        called = api.method(**api.schema.validate(call.args))
        return called if type(called) is CoroutineType else running.awaited(called)

    def block(self, call: IncomingCall) -> BlockingCall | None:
        """Return what runs an admitted call of a `def` api in a thread, None for any other. Raises InvalidArgument."""
        api = self.apis.get(call.api)
        if api is None or not api.is_blocking:
            return None
        return BlockingCall(self, api, partial(api.method, **api.schema.validate(call.args)))

    def succeed(self, call: IncomingCall, value: Any) -> Any:
        """Give back the slot of a plain call, and return its result. Raises BadResult."""
        try:
            return self.apis[call.api].checked(value)
        finally:
            self.freed()

    def fail(self, _call: IncomingCall, error: BaseException) -> BaseException:
        """Give back the slot of a plain call, and return what is answered in the place of its error."""
        self.freed()
        return self.told(error)

    def told(self, error: BaseException) -> BaseException:
        """Return what is answered in the place of an error: an api may fail, but not end the replica."""
        if isinstance(error, CallCancelled):
            return ServiceUnavailable(f"{self.name} is stopping")
        # The channel sorts out cancellation, and groups that may hold some. All else that is no Exception (SystemExit,
        # asyncio.CancelledError) is the api's own, and would end the process.
        return error if isinstance(error, (Exception, trio.Cancelled, BaseExceptionGroup)) else RemoteError.of(error)

    def find(self, name: str) -> LiveApi:
        """Return an api. Raises UnknownApi naming the nearest."""
        api = self.apis.get(name)
        if api is None:
            raise UnknownApi(f"{self.name} has no api {nearest(name, self.apis)}")
        return api

    def about(self, call: IncomingCall) -> Any:
        if call.api not in (SCHEMA, CHECK):
            return self.find(call.api)
        from svcd.worker.edge import check, describe  # noqa: PLC0415  (as above)

        if call.api == CHECK:
            return check(self, call.args)
        return {"apis": {name: describe(live.schema) for name, live in self.apis.items()}, "mounts": list(self.mounted)}
