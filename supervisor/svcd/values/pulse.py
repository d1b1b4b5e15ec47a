"""The pulse: a page of a small file on which a worker process notes that it lives, for its daemon to read at any time.

The worker maps the file and writes single numbers; whoever reads it asks nobody. So it tells of a process that holds
the GIL, hangs in C code or is stopped what no answer to a question could. All instants are CLOCK_MONOTONIC seconds.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

FORMAT = 1.0
"""The first number of a page of this form."""
_PAGE = struct.Struct("=5d")  # each is aligned, and so is written in one piece
SIZE = _PAGE.size
"""Bytes."""


class Pulse(NamedTuple):
    """What a page says."""

    form: float = FORMAT
    turned: float = 0.0
    """When the main loop last turned."""
    side_turned: float = 0.0
    """When the service's asyncio loop last turned; 0 where it has none."""
    busy_until: float = 0.0
    """The latest deadline of the calls that it has taken; 0 when it has none. Never earlier than the truth."""
    stuck_since: float = 0.0
    """Since when a service has no thread left whose call may still be wanted; 0 while it has one."""


TURNED, SIDE_TURNED, BUSY_UNTIL, STUCK_SINCE = (Pulse._fields.index(name) for name in Pulse._fields[1:])
"""Places of the numbers on the page."""


def beside(socket: str) -> str:
    """Return the path of the pulse of the process that has its first data socket at this one; see `Places`."""
    return f"{socket.removesuffix('.sock')}.pulse"


def read(page: bytes) -> Pulse | None:
    """Return what a page says; None for one that is not of this form."""
    if len(page) != SIZE:
        return None
    pulse = Pulse(*_PAGE.unpack(page))
    return pulse if pulse.form == FORMAT else None
