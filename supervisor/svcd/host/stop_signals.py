"""The signals that ask the daemon to stop, from its first step to its last.

Law: none of them ends the process by itself. What comes before the loop listens is remembered for it; what comes after
is dropped, since ending is under way.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_ASKING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopSignals:
    """As a context, in the main thread: takes the signals until the loop has handlers of its own, and again after."""

    def __init__(self) -> None:
        self.numbers: tuple[signal.Signals, ...] = ()
        """Which are listened to; SIGHUP is not under nohup."""
        self.early: list[int] = []
        """Those that came while the loop did not listen, oldest first."""
        self._before: dict[signal.Signals, signal._HANDLER] = {}

    def __repr__(self) -> str:
        """What came."""
        return f"<StopSignals {[signal.Signals(number).name for number in self.early]}>"

    def __enter__(self) -> Self:
        """Take them."""
        ignores_hangup = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self.numbers = tuple(it for it in _ASKING if it is not signal.SIGHUP or not ignores_hangup)
        self._before = {number: signal.signal(number, self._note) for number in self.numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.early.append(number)
