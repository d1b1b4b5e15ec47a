"""The guard: the keeper's parent, which does nothing but wait for one of its neighbours to end.

Daemon, guard and keeper are subreapers one above the other. Whichever two of them are killed at once, all that the
app ever started is below the third, and the third ends it.
"""

from __future__ import annotations

import os
import select
from contextlib import suppress

from svcd.host.processes import become_subreaper, kill_descendants

GRACE = 0.5
"""Seconds that the keeper has to end everything in order when the daemon has gone."""


def fork_under_guard(link: int) -> int:
    """Fork the keeper and stay behind as its guard, never to return; in the keeper, return a pidfd of the guard.

    `link` is the descriptor of the socket to the daemon: its hang-up says that the daemon has gone.
    """
    become_subreaper()
    guard = os.pidfd_open(os.getpid())
    keeper = os.fork()
    if keeper == 0:
        become_subreaper()  # not inherited over fork
        return guard
    try:
        os.close(guard)
        status = _watch(keeper, link)
    except BaseException:  # noqa: BLE001 - nothing may unwind into the frames that both halves share
        status = 1
    finally:
        kill_descendants()
        os._exit(status)


def _watch(keeper: int, link: int) -> int:
    """Return the exit status to leave with once the keeper has ended, or has not though the daemon is gone."""
    keeper_ended = os.pidfd_open(keeper)
    poll = select.poll()
    poll.register(keeper_ended, select.POLLIN)
    poll.register(link, select.POLLRDHUP)
    ready = dict(poll.poll())
    if keeper_ended not in ready:
        poll.unregister(link)
        if not poll.poll(GRACE * 1000):
            return 1
    # The daemon is to hear of the keeper's end at once, not after the killing: this is the last copy of its socket.
    os.close(link)
    with suppress(ChildProcessError):
        _, status = os.waitpid(keeper, 0)
        return 0 if status == 0 else 1
    return 1
