"""Who runs a task, and whether that process still lives: each owner holds a lock on one byte of a file.

The kernel drops such a lock with the process that holds it, whatever ended it, so there is no lease to renew and no
clock to trust. Locks of open file descriptions (fcntl(2), F_OFD_SETLK), because the usual ones are lost when any
descriptor of the file is closed. The file is not the store's own: SQLite has locks there.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import struct
from typing import Protocol

_FLOCK = "hhqqi4x"
"""struct flock: l_type, l_whence, l_start, l_len, l_pid."""
_MOST = 1 << 62


class Owners(Protocol):
    """Knows this process's number as an owner, and which others live."""

    me: int

    def is_alive(self, owner: int) -> bool: ...
    def close(self) -> None: ...


class LockedOwners:
    """Owners of all processes that share a file. Raises OSError where it cannot be locked."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self.me = secrets.randbelow(_MOST)
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, _lock_at(self.me))
        except BaseException:
            os.close(self._file)
            raise

    def __repr__(self) -> str:
        return f"<LockedOwners {self.me:x}>"

    def is_alive(self, owner: int) -> bool:
        """Whether the owner's process is there."""
        if owner == self.me:
            return True
        answer = fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, _lock_at(owner))
        kind: int = struct.unpack(_FLOCK, answer)[0]
        return kind != fcntl.F_UNLCK

    def close(self) -> None:
        """Be dead to all others."""
        os.close(self._file)


class OnlyOwner:
    """For a store that no other process sees."""

    me = 1

    def is_alive(self, owner: int) -> bool:
        """Whether it is the one there is."""
        return owner == self.me

    def close(self) -> None:
        """Do nothing."""


def _lock_at(offset: int) -> bytes:
    return struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, offset, 1, 0)
