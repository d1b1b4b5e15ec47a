"""W3C trace context: the `traceparent` of a request is continued, or a new one begun. Pure but for the random ids.

Source: https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import random
import re

_TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
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
