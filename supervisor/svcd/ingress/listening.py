"""What the process listens on beside the address that the keeper holds, and how many descriptors it may have."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BACKLOG = 128


@contextmanager
def local_listener(path: str) -> Iterator[socket.socket | None]:
    """Listen on a Unix socket at `path`, for this user alone; yields None for an empty path.

    It is bound under another name and then moved, so that there is one at `path` all the time while one ingress takes
    over from another; only the one that is still there is removed at the end. Raises OSError.
    """
    if not path:
        yield None
        return
    name = Path(path)
    draft = name.with_name(f"h{os.getpid()}")  # short: a path of a socket has 107 bytes at most
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        draft.unlink(missing_ok=True)
        listener.bind(str(draft))
        draft.chmod(0o600)
        listener.listen(BACKLOG)
        listener.setblocking(False)
        made = draft.stat().st_ino
        draft.rename(name)
        try:
            yield listener
        finally:
            with suppress(FileNotFoundError):
                if name.stat().st_ino == made:
                    name.unlink()


def allow_descriptors(count: int) -> int:
    """Raise this process's limit on descriptors to `count` where that is allowed; return the limit, at most `count`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return count
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
