"""A stream of one service's items: the replica is chosen when the first item is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.worker.departures import asked_for
from svcd.worker.revive import raise_as_own
from svcd_ipc.errors import Busy, CallError, ReplicaLost, ServiceUnavailable

if TYPE_CHECKING:
    from svcd.worker.outgoing import Inputs
    from svcd.worker.replica_end import ReplicaEnd
    from svcd.worker.route import Route


class RouteStream:
    """Async iterator over the items; counts as a call in flight until it ends or is left with `aclose`."""

    def __init__(
        self,
        route: Route,
        api: str,
        args: dict[str, Any],
        deadline: float,
        trace: str | None,
        inputs: Inputs | None = None,
    ) -> None:
        self._route = route
        self._api = api
        self._args = args
        self._asked = asked_for(api, args)
        self._deadline = deadline
        self._trace = trace
        self._inputs = inputs
        self._replica: ReplicaEnd | None = None
        self._items: Any = None
        self._ended = False

    def __repr__(self) -> str:
        return f"<RouteStream {self._route.service}.{self._asked}>"

    def __aiter__(self) -> RouteStream:
        return self

    async def __anext__(self) -> Any:
        if self._ended:
            raise StopAsyncIteration
        try:
            if self._items is None:
                return await self._first()
            return await self._items.__anext__()
        except ReplicaLost as error:
            replica = self._replica
            self._end()
            if replica is None or error.from_peer:
                raise
            raise self._route.name_loss(self._asked, replica) from error
        except BaseException as error:
            self._end()
            raise_as_own(error)
            raise

    async def aclose(self) -> None:
        """Take no more items and cancel the callee."""
        items, self._items = self._items, None
        self._end()
        if items is not None:
            await items.aclose()

    def __del__(self) -> None:
        if self._items is not None and not self._ended:  # a loop that was left by `break`
            self._route.post(self.aclose)

    async def _first(self) -> Any:
        """Return the first item; a call that was not started goes on to another replica, as with plain calls."""
        is_back = False
        while True:
            replica = self._replica = await self._route.acquire(self._asked, self._deadline, is_back=is_back)
            try:
                channel = replica.channel
                if channel is None or channel.has_ended:
                    channel = await self._route.open(replica, self._asked, self._deadline)
                items = channel.stream(
                    self._api, self._args, deadline=self._deadline, trace=self._trace, inputs=self._inputs
                )
                item = await items.__anext__()
            except Busy as busy:
                replica.refused(busy.load, self._route.clock())
            except ServiceUnavailable as error:
                if error.from_peer:
                    raise
            except (CallError, StopAsyncIteration):
                replica.answered()
                raise
            else:
                replica.answered()
                self._items = items
                return item
            self._replica = None
            self._route.release(replica)
            is_back = True

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            replica, self._replica = self._replica, None
            if replica is not None:
                self._route.release(replica)
