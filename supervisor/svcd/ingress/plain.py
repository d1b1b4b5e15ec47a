"""Requests that need no protocol machine: what most clients send, read by one rule a line. Pure.

A *plain* request is a POST of HTTP/1.1 that came in one piece: head and body, nothing before or after, the body's size
told by one content-length. h11 reads it with the same result (`tests/properties/test_plain_requests.py`), in 27 µs
instead of 5, so whoever has read one here can still give it to h11 when something else comes of it than one answer.

What is not plain is not refused here. It is h11's, which knows what is wrong with it, or what it means.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

Header = tuple[bytes, bytes]

_HEAD_END = b"\r\n\r\n"
_POST = re.compile(rb"POST (/[!-~]*) HTTP/1\.1")
_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+):[ \t]*((?:[!-~]+(?:[ \t]+[!-~]+)*)?)[ \t]*")
"""A header in visible ASCII; h11 takes more."""
_LENGTH = re.compile(rb"[0-9]{1,18}")
_NOT_PLAIN = frozenset((b"transfer-encoding", b"upgrade", b"expect", b"http2-settings", b"trailer"))
"""Headers of which the protocol takes notice."""
_SENDABLE = re.compile(rb"(?:[!-~]+(?: [!-~]+)*\n)*")


class Plain(NamedTuple):
    """A plain request, with what ASGI says of it."""

    target: bytes
    headers: list[Header]
    """Names in lower case."""
    body: bytes


def read_plain(data: bytes) -> Plain | None:
    """Return the one request that `data` is; None where it is not plain."""
    head, end, body = data.partition(_HEAD_END)
    first, *lines = head.split(b"\r\n")
    asked = _POST.fullmatch(first)
    if asked is None or not end or not body:
        return None
    headers: list[Header] = []
    hosts, size = 0, b""
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None:
            return None
        name, value = found.groups()
        name = name.lower()
        headers.append((name, value))
        if name == b"content-length":
            if size or _LENGTH.fullmatch(value) is None:
                return None
            size = value
        elif name == b"host":
            hosts += 1
        elif name in _NOT_PLAIN or (name == b"connection" and value.lower() != b"keep-alive"):
            return None
    if hosts != 1 or not size or int(size) != len(body):
        return None
    return Plain(asked[1], headers, body)


def write_plain(status: int, headers: Iterable[Header], body: bytes) -> bytes | None:
    """Return a whole response, whose headers tell the size of its body; None where h11 should look at the headers.

    h11 refuses values that would end their line, or the head.
    """
    lines = list(headers)
    values = b"".join([b"%s\n" % value for _, value in lines])
    if values.count(b"\n") != len(lines) or _SENDABLE.fullmatch(values) is None:
        return None
    head = b"".join([b"%s: %s\r\n" % line for line in lines])
    return b"HTTP/1.1 %d \r\n%s\r\n%s" % (status, head, body)
