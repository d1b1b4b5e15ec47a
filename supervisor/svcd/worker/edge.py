"""The entry service's answers to HTTP: bodies to arguments, results to bodies.

The ingress knows HTTP, this module knows the api's annotations. What a body holds is told by its content type:

    application/json, */*+json, none    a JSON object of keyword arguments
    application/msgpack                 a msgpack map of keyword arguments; arrays stay binary
    text/*                              the api's single str parameter
    anything else                       the api's single bytes parameter

A result is answered as `text/plain` when it is a str, `application/octet-stream` when it is bytes, JSON otherwise;
`accept: application/msgpack` and `accept: application/json` choose that form for any result. A stream of str or bytes
is answered in chunks, one of anything else as lines of JSON; `accept: text/event-stream` makes each item an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from svcd_ipc import codec
from svcd_ipc.errors import BadResult, EncodeError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.app.schemas import ApiSchema
    from svcd.worker.serve import LiveService, Slot

JSON = "application/json"
NDJSON = "application/x-ndjson"
MSGPACK = "application/msgpack"
TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
EVENTS = "text/event-stream"
_MSGPACKS = (MSGPACK, "application/x-msgpack", "application/vnd.msgpack")


async def answer(service: LiveService, request: dict[str, Any], slot: Slot) -> Any:
    """Answer `svcd.http`: `[content type, body]`, or a stream whose first item is the content type.

    Args:
        service: The service whose api is asked.
        request: `{api, body, type, accept}`, or `{api, form, accept}`.
        slot: The call's slot.

    Raises:
        InvalidArgument: The body is not what the api takes; names the field.
        UnknownApi: There is no such api.
    """
    api = service.find(str(request.get("api")))
    accept = _media_types(request.get("accept") or "")
    result = await api.run(arguments(api.schema, request), slot)
    if api.declaration.is_stream:
        return HttpStream(result, api.schema, accept)
    return list(encode(result, api.schema, accept))


def arguments(schema: ApiSchema, request: dict[str, Any]) -> dict[str, Any]:
    """Return the validated arguments that a request holds."""
    if "form" in request:
        return schema.validate(_form(schema, request["form"]))
    body, media_type = request["body"], (request.get("type") or "").partition(";")[0].strip().lower()
    if media_type in ("", JSON) or media_type.endswith("+json"):
        return schema.validate_json(body or b"{}")
    if media_type in _MSGPACKS:
        return schema.validate(_unpacked(schema, body))
    if media_type.startswith("text/"):
        return schema.validate({_field(schema, str, media_type): _text(schema, body)})
    return schema.validate({_field(schema, bytes, media_type): body})


def _field(schema: ApiSchema, wanted: type, media_type: str) -> str:
    name = schema.only_field(wanted)
    if name is None:
        raise _bad_body(
            schema, f"{media_type} needs an api with a single {wanted.__name__} parameter; post a JSON object as {JSON}"
        )
    return name


def _unpacked(schema: ApiSchema, body: bytes) -> dict[str, Any]:
    try:
        value = codec.decode(body)
    except ValueError as error:
        raise _bad_body(schema, f"not msgpack: {error}") from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _bad_body(schema, "the msgpack value should be a map of keyword arguments")
    return value


def _text(schema: ApiSchema, body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise _bad_body(schema, f"not UTF-8: {error}") from None


def _form(schema: ApiSchema, form: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a form; a text that a str parameter does not take is read as JSON where it is JSON."""
    args: dict[str, Any] = {}
    for name, value in form.items():
        args[name] = value
        if isinstance(value, str) and not schema.takes_text(name):
            try:
                args[name] = from_json(value)
            except ValueError:
                continue  # validation says what is wrong with it
    return args


def _bad_body(schema: ApiSchema, message: str) -> InvalidArgument:
    return InvalidArgument(f"{schema.title}: body: {message}", details=[{"field": "body", "message": message}])


def _media_types(accept: str) -> list[str]:
    return [part.partition(";")[0].strip().lower() for part in accept.split(",")]


def encode(value: Any, schema: ApiSchema, accept: list[str]) -> tuple[str, bytes]:
    """Return content type and body of a result."""
    if any(kind in _MSGPACKS for kind in accept):
        return MSGPACK, _packed(value, schema)
    if JSON not in accept:
        if isinstance(value, str):
            return TEXT, value.encode()
        if isinstance(value, bytes | bytearray | memoryview):
            return BYTES, bytes(value)
    return JSON, schema.to_json(value)


class HttpStream:
    """A stream as HTTP sends it: first the content type, then chunks.

    The first item is awaited before the content type is told, because it may decide it. Errors are left to the ingress.
    """

    def __init__(self, items: Any, schema: ApiSchema, accept: list[str]) -> None:
        self._items = items
        self._schema = schema
        self._accept = accept
        self._encode: Callable[[Any], bytes] | None = None
        self._pending: bytes | None = None
        self._ended = False

    def __aiter__(self) -> HttpStream:
        return self

    async def __anext__(self) -> Any:
        if self._encode is None:
            return await self._begin()
        if self._pending is not None:
            chunk, self._pending = self._pending, None
            return chunk
        if self._ended:
            raise StopAsyncIteration
        return self._encode(await self._items.__anext__())

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._items.aclose()

    async def _begin(self) -> str:
        try:
            first = await self._items.__anext__()
        except StopAsyncIteration:
            self._ended = True
            content_type, self._encode = self._form(self._schema.item_type())
            return content_type
        content_type, self._encode = self._form(type(first))
        self._pending = self._encode(first)
        return content_type

    def _form(self, kind: Any) -> tuple[str, Callable[[Any], bytes]]:
        if EVENTS in self._accept:
            return EVENTS, lambda item: event(item if isinstance(item, str) else self._schema.to_json(item).decode())
        if any(accepted in _MSGPACKS for accepted in self._accept):
            return MSGPACK, lambda item: _packed(item, self._schema)
        if kind is str:
            return TEXT, str.encode
        if kind in (bytes, bytearray, memoryview):
            return BYTES, bytes
        return NDJSON, lambda item: self._schema.to_json(item) + b"\n"


def event(text: str) -> bytes:
    """Return a server-sent event; each line of the text is a data line of its own (HTML standard, 9.2.6)."""
    return ("".join(f"data: {line}\n" for line in text.splitlines() or [""]) + "\n").encode()


def _packed(value: Any, schema: ApiSchema) -> bytes:
    try:
        return codec.encode(value)
    except EncodeError as error:
        raise BadResult(f"{schema.title}: {error}") from None
