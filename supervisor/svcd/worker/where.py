"""Where a replica hangs, written to its log on SIGQUIT: what its threads do, what its tasks wait for.

faulthandler writes the threads' stacks whatever the interpreter does. A task that waits is on no stack; the tasks are
written after that, by a handler in Python, when the main thread gets to run it.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import traceback
from typing import TYPE_CHECKING, Any

import trio

from svcd.app.load import OURS

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterable, Iterator
    from types import FrameType

    Frames = list[tuple[FrameType, int]]

_NOT_THEIRS = {"svcd_ipc", "trio", "outcome", "asyncio", "anyio"}
"""Packages whose frames say nothing before the first and after the last of the service's own."""


def install(loops: Callable[[], Iterable[AbstractEventLoop]]) -> None:
    """Write tasks too from now on. loops: the asyncio loops that code of the service runs on."""
    faulthandler.unregister(signal.SIGQUIT)
    signal.signal(signal.SIGQUIT, lambda *_: _tell(loops()))
    faulthandler.register(signal.SIGQUIT, all_threads=True, chain=True)


def _tell(loops: Iterable[AbstractEventLoop]) -> None:
    tasks = [*_trio_tasks(), *_asyncio_tasks(loops)]
    lines = ["svcd: what the service's tasks wait for (most recent call last):\n"]
    for frames in tasks:
        theirs = [index for index, (frame, _) in enumerate(frames) if _is_theirs(frame)]
        if theirs:
            stack = traceback.StackSummary.extract(iter(frames[theirs[0] : theirs[-1] + 1]))
            lines += ["svcd: a task:\n", *stack.format()]
    if len(lines) > 1:
        sys.stderr.write("".join(lines))


def _is_theirs(frame: FrameType) -> bool:
    package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return not frame.f_code.co_filename.startswith(OURS) and package not in _NOT_THEIRS


def _trio_tasks() -> Iterator[Frames]:
    try:
        root = trio.lowlevel.current_root_task()
    except RuntimeError:  # the loop does not run yet, or no more
        return
    rest = [root] if root is not None else []
    while rest:
        task = rest.pop()
        rest += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
        yield list(task.iter_await_frames())


def _asyncio_tasks(loops: Iterable[AbstractEventLoop]) -> Iterator[Frames]:
    for loop in loops:
        import asyncio  # noqa: PLC0415 - there is a loop, so it is imported

        for task in asyncio.all_tasks(loop):
            yield _frames(task.get_coro())


def _frames(awaited: Any) -> Frames:
    """Walk from a coroutine to what it waits for, and so on; also through generators."""
    found: Frames = []
    while awaited is not None:
        for prefix, following in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(awaited, f"{prefix}_frame", None)
            if frame is not None:
                found.append((frame, frame.f_lineno))
                awaited = getattr(awaited, following)
                break
        else:
            return found
    return found
