"""W3C trace context and Server-Timing: whose part of what a request is, and where its time went. Pure but for ids.

The `traceparent` of a request is continued, or a new one begun (https://www.w3.org/TR/trace-context/#traceparent-header).
`Server-Timing` has a metric for the ingress and one for each api that was called for the request, in milliseconds:

    ingress;dur=3.1, Mood.score;dur=2.4;queue=0.1;calls=1, Words.split;dur=0.8;queue=0.0;calls=2

`dur` is waiting and running, `queue` the waiting of it: in line for a replica, or for a thread. Parameters other than
`dur` are for whoever knows them, as https://www.w3.org/TR/server-timing/#the-server-timing-header-field has it.
"""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from svcd_ipc.timing import Timing

_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_NO_TOKEN = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_random = random.Random()  # noqa: S311 - ids of traces must be unlikely to meet, not hard to guess


def continue_trace(traceparent: bytes | None) -> str:
    """Return the trace context to pass on: the caller's trace with a new parent id, or a new trace.

    A header that is absent or malformed begins a new trace, which is not marked as sampled: nobody asked for it.
    """
    parent = _random.getrandbits(64) or 1  # all zeros is not a valid id
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    # A later version may append fields; version 00 may not.
    if match is None or (match[1] == b"00" and match[5]):
        return f"00-{_random.getrandbits(128) or 1:032x}-{parent:016x}-00"
    return f"00-{match[2].decode()}-{parent:016x}-{match[4].decode()}"


def server_timing(timing: Timing, now: float, path: str) -> bytes:
    """Return the header's value as it is at this instant; `path` is the request's, which names the entry's api."""
    metrics = [f"ingress;dur={max(0.0, now - timing.began) * 1e3:.3f}"]
    for name, (calls, queued, run) in timing.hops.items():
        service, reserved, kind = name.partition(".svcd.")
        if kind == "schema":
            continue
        shown = _NO_TOKEN.sub("_", f"{service}.{path[1:]}" if reserved else name)
        metrics.append(f"{shown};dur={(queued + run) / 1e3:.3f};queue={queued / 1e3:.3f};calls={calls}")
    return ", ".join(metrics).encode()
