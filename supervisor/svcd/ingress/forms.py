"""Forms: a multipart or urlencoded body as a map from field names to text or bytes.

No I/O: the whole body is in memory, where the limit on bodies bounds it. A part with a file name is bytes, and so is
one whose content type is neither text nor JSON; any other is UTF-8 text, which is kept apart where it says it is JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.ingress.problems import refuse

if TYPE_CHECKING:
    from collections.abc import Iterator

Value = str | bytes | dict[str, str]
"""A text, the bytes of a file, or `{"json": text}` for a part of that content type."""
Form = dict[str, Value | list[Value]]
"""A field that comes more than once has all its values, in their order."""

MAX_FIELDS = 1000
"""Fields of one form; more than any api has arguments, few enough that parsing stays cheap."""


def is_form(content_type: str) -> bool:
    """Tell whether a body of this content type is a form."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind in ("multipart/form-data", "application/x-www-form-urlencoded")


def parse_form(content_type: str, body: bytes) -> Form:
    """Return the fields of a form. Raises RefusedError (400, 415) for what is not one."""
    fields: dict[str, list[Value]] = {}
    parts = _multipart(content_type, body) if "multipart" in content_type.lower() else _urlencoded(body)
    for count, (name, value) in enumerate(parts):
        if count == MAX_FIELDS:
            raise _malformed(f"more than {MAX_FIELDS} fields")
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _urlencoded(body: bytes) -> Iterator[tuple[str, str]]:
    from urllib.parse import parse_qsl  # noqa: PLC0415 - only the few apps that take forms need it

    if body.lstrip()[:1] in (b"{", b"["):
        raise refuse(
            415,
            "media_type",
            "the body looks like JSON, but its content type says form; send it as application/json (curl: --json)",
        )
    try:
        yield from parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise _malformed(str(error)) from None


def _multipart(content_type: str, body: bytes) -> list[tuple[str, Value]]:
    from python_multipart.exceptions import FormParserError  # noqa: PLC0415 - as above
    from python_multipart.multipart import MultipartParser, parse_options_header  # noqa: PLC0415 - as above

    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise _malformed("its content type names no boundary")
    parts = _Parts(parse_options_header)
    try:
        parser = MultipartParser(boundary, parts.callbacks())
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise _malformed(str(error)) from None
    if not parts.complete:
        raise _malformed("it ends before its last boundary")
    return parts.fields


class _Parts:
    """Gathers the parts that the parser finds."""

    def __init__(self, parse_options: Any) -> None:
        self.fields: list[tuple[str, Value]] = []
        self.complete = False
        self._parse_options = parse_options
        self._name, self._value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._header,
            "on_part_data": lambda data, start, end: self._data.extend(data[start:end]),
            "on_part_end": self._part,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        self._headers = {}
        self._data = bytearray()

    def _header(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def _part(self) -> None:
        options = self._parse_options(self._headers.get(b"content-disposition", b""))[1]
        if b"name" not in options:
            raise _malformed("a part has no name in its content-disposition")
        if len(self.fields) == MAX_FIELDS:
            raise _malformed(f"more than {MAX_FIELDS} fields")
        try:
            name = options[b"name"].decode()
            kind = b"file" if b"filename" in options else _kind(self._headers.get(b"content-type", b""))
            value: Value = bytes(self._data) if kind == b"file" else self._data.decode()
            self.fields.append((name, {"json": str(value)} if kind == b"json" else value))
        except UnicodeDecodeError:
            raise _malformed("a name or a text field is not UTF-8; give binary fields a file name") from None

    def _end(self) -> None:
        self.complete = True


def _kind(content_type: bytes) -> bytes:
    kind = content_type.partition(b";")[0].strip().lower()
    if kind.endswith((b"/json", b"+json")):
        return b"json"
    return b"text" if not kind or kind.startswith(b"text/") else b"file"


def _malformed(why: str) -> Exception:
    return refuse(400, "malformed", f"the form cannot be read: {why}")
