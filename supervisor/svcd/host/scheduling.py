"""Reads what the scheduler accounts of the threads of a process.

A kernel without CONFIG_SCHED_INFO, and most sandboxes that play a kernel, have no such account: nothing is known then,
and whoever asks goes by the clock alone.
"""

from __future__ import annotations

import os

from svcd.values.scheduling import ThreadTimes

_NANOSECOND = 1e-9


def read_threads(pid: int, *, all_of_them: bool, with_state: bool) -> dict[int, ThreadTimes]:
    """Return the times of the main thread, or of all threads, by their ids; without those that can't be read.

    with_state: Look whether they are runnable, too; it costs twice as much as the times.
    """
    try:
        threads = [int(name) for name in os.listdir(f"/proc/{pid}/task")] if all_of_them else [pid]  # noqa: PTH208 - names are all that is wanted
    except OSError:
        return {}
    found = ((thread, _read(f"/proc/{pid}/task/{thread}", with_state=with_state)) for thread in threads)
    return {thread: times for thread, times in found if times is not None}


def _read(folder: str, *, with_state: bool) -> ThreadTimes | None:
    try:
        # The state first: a thread that gets its turn between the two has more turns, so nobody takes it for waiting.
        is_runnable = with_state and _text(f"{folder}/stat").rpartition(b")")[2].split(None, 1)[0] == b"R"
        ran, waited, turns = map(int, _text(f"{folder}/schedstat").split())
    except (OSError, ValueError, IndexError):  # it has ended, or the kernel keeps no such account
        return None
    return ThreadTimes(ran * _NANOSECOND, waited * _NANOSECOND, turns, is_runnable)


def _text(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
