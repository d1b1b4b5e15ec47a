"""The entry service's answers to HTTP: bodies to arguments, results to bodies.

The ingress knows HTTP, this module knows the api's annotations. What a body holds is told by its content type:

    application/json, */*+json, none    a JSON object of keyword arguments
    application/msgpack                 a msgpack map of keyword arguments; arrays stay binary
    text/*                              the api's single str parameter, in one of `media.CHARSETS`
    anything else                       the api's single bytes parameter

For an api with a parameter that is a stream, a body of NDJSON, of a sequence of msgpack values, of text or of bytes is
its items, taken as they come; the other arguments are in the query, read as a form is. A sequence of msgpack values
whose type has the parameter `items=NAME` begins with a map of the other arguments, so that they can be anything.

JSON is taken at its word, as the api's schema has it: the text "3" is no number. Forms are read by `svcd.app.forms`. A
result is answered as `text/plain` when it is a str, `application/octet-stream` when it is bytes, JSON
otherwise, unless `accept` chooses another of the forms that `media.offers` names. It has to be what a service in
another process would take: what cannot travel there, or is not what the annotation says once it has arrived, is a
BadResult here too. Beside that JSON has no NaN and no infinity.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from svcd.values import media
from svcd.values.media import Accept
from svcd.worker.answers import arrived, json_text, packed, text
from svcd.worker.bodies import items_of
from svcd_ipc import codec
from svcd_ipc.errors import BadResult, InvalidArgument
from svcd_ipc.frames import DEFAULT_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.app.apis import ApiDeclaration
    from svcd.app.schemas import ApiSchema
    from svcd.worker.serve import LiveService, Slot

LARGEST_ANSWER = DEFAULT_LIMIT - 1024
"""Bytes of a result in the form that HTTP sends; the rest of a frame is its envelope."""
_LINE_END = re.compile("\r\n|\r|\n")  # not str.splitlines, which ends lines in many more places
_BUFFERS = (bytes, bytearray, memoryview)


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
    accept = Accept(request.get("accept") or "")
    led = media.led_argument(request.get("type") or "")
    args = arguments(api.schema, request) if led is None else await _led_arguments(api.schema, request, led)
    result = await api.run(args, slot)
    if api.declaration.is_stream:
        return HttpStream(result, api.schema, accept)
    content_type, body = encode(result, api.schema, accept)
    if len(body) > LARGEST_ANSWER:
        raise BadResult(
            f"{api.schema.title} returned {len(body)} bytes; an answer has at most {LARGEST_ANSWER}: yield it in pieces"
        )
    return [content_type, body]


def check(service: LiveService, request: dict[str, Any]) -> None:
    """Answer `svcd.check`: nothing, or as `answer` would before it runs the api."""
    arguments(service.find(str(request.get("api"))).schema, request)


def arguments(schema: ApiSchema, request: dict[str, Any]) -> dict[str, Any]:
    """Return the validated arguments that a request holds."""
    if "form" in request:
        return schema.form.validate(request["form"])
    content_type: str = request.get("type") or ""
    body, media_type = request["body"], content_type.partition(";")[0].strip().lower()
    if schema.stream_field is not None and (form := media.streamed_as(media_type, schema.stream_field[1])):
        name = schema.stream_field[0]
        codec_name = _codec(schema, content_type) if form == media.TEXT else "utf-8"
        items = items_of(body, form, f"{schema.title}: {name}", codec_name)
        return schema.form.validate(request.get("query") or {}, {name: items})
    if media_type in ("", media.JSON) or media_type.endswith("+json"):
        return schema.validate_json(body or b"{}")
    if media_type in media.MSGPACKS:
        return schema.validate(_unpacked(schema, body))
    if media_type.startswith("text/"):
        return schema.validate({_field(schema, str, media_type): _text(schema, body, content_type)})
    return schema.validate({_field(schema, bytes, media_type): body})


async def _led_arguments(schema: ApiSchema, request: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the validated arguments of a body that holds them all but `name`, and then the items of that one."""
    if name not in schema.inputs:
        message = "it is no parameter that is a stream, but was sent as one"
        raise InvalidArgument(f"{schema.title}: {name}: {message}", details=[{"field": name, "message": message}])
    if request.get("query"):
        raise _bad_body(schema, f"it begins with the arguments other than {name}, so that none can be in the query")
    items = items_of(request["body"], media.MSGPACK_SEQ, f"{schema.title}: {name}")
    first = await anext(items, None)
    if not isinstance(first, dict) or not all(isinstance(key, str) for key in first):
        raise _bad_body(schema, "the first msgpack value should be a map of the other arguments")
    return schema.validate({**first, name: items})


def _field(schema: ApiSchema, wanted: type, media_type: str) -> str:
    name = schema.only_field(wanted)
    if name is None:
        raise _bad_body(
            schema,
            f"{media_type} needs an api with a single {wanted.__name__} parameter; post a JSON object as {media.JSON}",
        )
    return name


def _unpacked(schema: ApiSchema, body: bytes) -> dict[str, Any]:
    try:
        value = codec.decode(body)
    except ValueError as error:
        raise _bad_body(schema, str(error)) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _bad_body(schema, "the msgpack value should be a map of keyword arguments")
    return value


def _text(schema: ApiSchema, body: bytes, content_type: str) -> str:
    try:
        return body.decode(_codec(schema, content_type))
    except UnicodeDecodeError as error:
        raise _bad_body(schema, f"not {media.charset_of(content_type).upper()}: {error}") from None


def _codec(schema: ApiSchema, content_type: str) -> str:
    """Return Python's name of the charset of a text; the ingress has answered 415 to what is refused here."""
    name = media.codec_of(content_type)
    if name is None:
        told = ", ".join(media.CHARSETS)
        raise _bad_body(schema, f"charset={media.charset_of(content_type)} is not supported; it may be {told}")
    return name


def _bad_body(schema: ApiSchema, message: str) -> InvalidArgument:
    return InvalidArgument(f"{schema.title}: body: {message}", details=[{"field": "body", "message": message}])


def encode(value: Any, schema: ApiSchema, accept: Accept) -> tuple[str, bytes]:
    """Return content type and body of a result."""
    value = arrived(value, schema)
    offered = media.offers([_kind(type(value))], is_stream=False)
    media_type = accept.best(offered) or offered[0]
    if media_type == media.MSGPACK:
        return media_type, packed(value, schema)
    if media_type == media.TEXT:
        return media.TEXT + media.UTF8, text(value, schema)
    if media_type == media.BYTES:
        return media_type, bytes(value)
    return media_type, json_text(value, schema)


def describe(schema: ApiSchema) -> dict[str, Any]:
    """Return what `svcd.schema` tells of an api: doc, JSON Schemas, and how it is spoken to over HTTP."""
    return schema.describe() | {
        "text_body": schema.only_field(str),
        "bytes_body": schema.only_field(bytes),
        "idempotent": schema.declaration.idempotent,
        "stream_body": _stream_body(schema),
        "answers": list(media.offers(schema.result_kinds(), is_stream=schema.is_stream)),
        "task": _task(schema.declaration),
    }


def _task(declared: ApiDeclaration) -> dict[str, Any] | None:
    if declared.task is None:
        return None
    return {"idempotent": declared.idempotent, "timeout": declared.task.timeout, "retries": declared.task.retries}


def _stream_body(schema: ApiSchema) -> dict[str, Any] | None:
    if schema.stream_field is None:
        return None
    name, kinds = schema.stream_field
    return {"name": name, "kinds": sorted(kinds)}


def _kind(cls: Any) -> str:
    if isinstance(cls, type):
        if issubclass(cls, str):
            return "text"
        if issubclass(cls, _BUFFERS):
            return "bytes"
    return "json"


class HttpStream:
    """A stream as HTTP sends it: first the content type, then chunks.

    The first item is awaited before the content type is told, because it may decide it. Errors are left to the ingress.
    """

    def __init__(self, items: Any, schema: ApiSchema, accept: Accept) -> None:
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
        return self._encode(arrived(await self._items.__anext__(), self._schema))

    async def aclose(self) -> None:
        """Leave the stream."""
        await self._items.aclose()

    async def _begin(self) -> str:
        try:
            first = arrived(await self._items.__anext__(), self._schema)
        except StopAsyncIteration:
            self._ended = True
            content_type, self._encode = self._form(self._schema.item_type())
            return content_type
        content_type, self._encode = self._form(type(first))
        self._pending = self._encode(first)
        return content_type

    def _form(self, kind: Any) -> tuple[str, Callable[[Any], bytes]]:
        offered = media.offers([_kind(kind)], is_stream=True)
        media_type = self._accept.best(offered) or offered[0]
        if media_type == media.EVENTS:
            return media_type, self._event
        schema = self._schema
        if media_type == media.MSGPACK_SEQ:
            return media_type, lambda item: packed(item, schema)
        if media_type == media.TEXT:
            return media.TEXT + media.UTF8, lambda item: text(item, schema)
        if media_type == media.BYTES:
            return media_type, bytes
        return media_type, lambda item: json_text(item, schema) + b"\n"

    def _event(self, item: Any) -> bytes:
        encode = text if isinstance(item, str) else json_text
        return event(encode(item, self._schema).decode())


def event(text: str) -> bytes:
    """Return a server-sent event; each line of the text is a data line of its own (HTML standard, 9.2.6)."""
    return ("".join(f"data: {line}\n" for line in _LINE_END.split(text)) + "\n").encode()
