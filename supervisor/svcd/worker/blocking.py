"""A call of a `def` api whose thread has waited for it in the loop's place (`svcd_ipc.deputy`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.worker.serve import LiveApi, LiveService


class BlockingCall:
    """One such call; see `svcd_ipc.calls.Blocking`. It gives its slot back when its function has ended."""

    __slots__ = ("_api", "_job", "_live")

    def __init__(self, live: LiveService, api: LiveApi, function: Callable[[], Any]) -> None:
        self._live = live
        self._api = api
        self._job = api.threads.job(function, live.freed)

    def run(self) -> None:
        """Run the function."""
        self._api.threads.run_here(self._job)

    def hand_over(self) -> None:
        """Tell the loop that it has run."""
        self._api.threads.hand_over(self._job)

    def end(self) -> Any:
        """Return its result, checked. Raises what is answered else."""
        try:
            return self._api.checked(self._api.threads.result_of(self._job))
        except BaseException as error:  # noqa: BLE001  (raised again, or what it stands for)
            self._raise(error)

    async def rest(self) -> Any:
        """Wait for its result, and return it as `end` does."""
        try:
            return self._api.checked(await self._api.threads.rest_of(self._job))
        except BaseException as error:  # noqa: BLE001  (as above)
            self._raise(error)

    def _raise(self, error: BaseException) -> NoReturn:
        instead = self._live.told(error)
        try:
            if instead is error:
                raise error
            raise instead from None
        finally:
            del instead, error  # its traceback refers to this frame
