"""Media types of what an api takes and gives, and which of them a client accepts. Pure.

An `Accept` header is read as RFC 9110, section 12.5.1, has it: of the forms that there are, the one with the highest
quality is chosen; of equals the one named most exactly, and of those the one that comes first. Parameters of a media
type other than `q` are ignored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
MSGPACK_SEQ = "application/msgpack-seq"
"""Msgpack values one after the other, as RFC 8742 has it for CBOR."""
TEXT = "text/plain"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
HTML = "text/html"
MULTIPART = "multipart/form-data"
FORM = "application/x-www-form-urlencoded"

MSGPACKS = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")
"""All names that msgpack goes by; the first is the registered one."""
NDJSONS = (NDJSON, "application/ndjson", "application/jsonl")
"""All names that lines of JSON go by; none is registered."""
UTF8 = "; charset=utf-8"
CHARSETS = ("utf-8", "us-ascii", "iso-8859-1")
"""Those in which a text may come, by their registered names."""

ERROR_ITEM = 31
"""Ext type of the last value of a msgpack sequence that failed; its data is the JSON text of an error body."""

_CODECS = {
    **dict.fromkeys(("utf-8", "utf8"), "utf-8"),
    **dict.fromkeys(("us-ascii", "ascii"), "ascii"),
    **dict.fromkeys(("iso-8859-1", "iso8859-1", "latin-1", "latin1"), "latin-1"),
}
"""Python's names of the charsets. A table, because `codecs.lookup` imports by the name, and keeps every one it is asked
for: names are what clients choose."""
_STANDS_FOR = {MSGPACK: MSGPACK_SEQ, JSON: NDJSON}
"""What a stream gives a client that asks for one value of a type."""
_QUALITY = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\Z")

Offers = tuple[str, ...]


def offers(kinds: Iterable[str], *, is_stream: bool) -> Offers:
    """Return the media types in which an api can answer, the natural ones first.

    `kinds` are those of its results (or items): `text`, `bytes` and `json`, as the annotation promises them.
    """
    natural = {"text": TEXT, "bytes": BYTES, "json": NDJSON if is_stream else JSON}
    first = [natural[kind] for kind in natural if kind in kinds]
    last = [NDJSON, EVENTS, MSGPACK_SEQ] if is_stream else [JSON, MSGPACK]
    return tuple(dict.fromkeys([*first, *last]))


def streamed_as(content_type: str, kinds: Iterable[str]) -> str | None:
    """Return in which form a body holds the items of a parameter that is a stream; None where it holds all arguments.

    `kinds` are those of the items, as for `offers`.
    """
    name = content_type.partition(";")[0].strip().lower()
    if name in NDJSONS:
        return NDJSON
    if name in ("", JSON, FORM, MULTIPART, *MSGPACKS) or name.endswith("+json"):
        return None
    if name == MSGPACK_SEQ:
        return MSGPACK_SEQ
    form, kind = (TEXT, "text") if name.startswith("text/") else (BYTES, "bytes")
    return form if kind in kinds else None


def led_argument(content_type: str) -> str | None:
    """Return the argument whose items a body holds after a first value with all others; None for any other body.

    It is the parameter `items` of a sequence of msgpack values, percent-encoded.
    """
    if content_type.partition(";")[0].strip().lower() != MSGPACK_SEQ:
        return None
    argument = _parameters(content_type).get("items")
    return None if argument is None else unquote(argument)


def charset_of(content_type: str) -> str:
    """Return the charset that a media type names, UTF-8 where it names none."""
    return _parameters(content_type).get("charset", "utf-8").lower()


def codec_of(content_type: str) -> str | None:
    """Return Python's name of the charset of a text of a media type, None for one that is not among CHARSETS."""
    return _CODECS.get(charset_of(content_type))


def _parameters(content_type: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in content_type.split(";")[1:])
    return {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}


class Accept:
    """What a client accepts. No header, or an empty one, accepts everything."""

    __slots__ = ("_ranges",)

    def __init__(self, header: str) -> None:
        self._ranges: dict[str, float] = {}
        """Quality by media range."""
        for part in header.split(","):
            name, *parameters = (text.strip().lower() for text in part.split(";"))
            if name:
                self._ranges[MSGPACK if name in MSGPACKS else name] = _quality(parameters)

    def __repr__(self) -> str:
        return f"<Accept {self._ranges or 'anything'}>"

    def best(self, offered: Iterable[str]) -> str | None:
        """Return the one of the media types offered that the client likes best, None when it accepts none."""
        chosen, most = None, (0.0, 0)
        for media_type in offered:
            rank = self._rank(media_type)
            if rank[0] > 0 and rank > most:
                chosen, most = media_type, rank
        return chosen

    def _rank(self, media_type: str) -> tuple[float, int]:
        """Return quality and exactness of the range that fits a media type most exactly."""
        if not self._ranges:
            return 1.0, 0
        whole = [media_type, *(asked for asked, given in _STANDS_FOR.items() if given == media_type)]
        for exactness, names in ((3, whole), (2, [f"{media_type.partition('/')[0]}/*"]), (1, ["*/*"])):
            for name in names:
                if name in self._ranges:
                    return self._ranges[name], exactness
        return 0.0, 0


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            return float(value) if _QUALITY.match(value.strip()) else 1.0
    return 1.0
