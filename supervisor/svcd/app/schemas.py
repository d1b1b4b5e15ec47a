"""Schemas of an api, from its annotations: validate what comes in, encode or rebuild what goes out.

The one module of `app` that imports pydantic, and so imported only where calls are served or results rebuilt. Rules:
no annotation means anything goes; unknown fields are refused; defaults are left to the function; arrays are taken as
arrays or as nested lists; bytes are base64 inside JSON.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Generator, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, NotRequired, Required

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, from_json, to_json
from typing_extensions import TypedDict

from svcd.app.adapters import CONFIG, adapter, details_of
from svcd.app.aliases import unaliased
from svcd.app.annotations import admits, is_plain, result_kinds, with_arrays, without_views
from svcd.app.declare import apis_of
from svcd.app.forms import FormSchema
from svcd.app.json_schema import json_schema
from svcd.app.results import check_of, sure_kinds_of
from svcd.app.streamed import is_streamed, streamed
from svcd.app.strict_json import read_json
from svcd_ipc.errors import BadResult, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from svcd.app.declare import ApiDeclaration

_ITERATORS = (AsyncIterator, AsyncIterable, AsyncGenerator, Iterator, Iterable, Generator)


class ApiSchema:
    """What one api takes and gives. Parts are built when first needed."""

    def __init__(self, owner: str, declaration: ApiDeclaration, function: Callable[..., Any]) -> None:
        self.declaration = declaration
        self.name = declaration.name
        self.title = f"{owner}.{declaration.name}"
        self.is_stream = declaration.is_stream
        self._function = function

    def __repr__(self) -> str:
        return f"<ApiSchema {self.title}{self.signature}>"

    @cached_property
    def signature(self) -> inspect.Signature:
        """The signature without self."""
        signature = inspect.signature(self._function)
        return signature.replace(parameters=list(signature.parameters.values())[1:])

    @cached_property
    def hints(self) -> dict[str, Any]:
        """Resolved annotations by parameter; `return` is that of the result, or of each item of a stream."""
        try:
            hints = typing.get_type_hints(self._function, include_extras=True)
            hints = {name: unaliased(hint) for name, hint in hints.items()}
        except Exception as error:
            code = self._function.__code__
            raise TypeError(
                f"{code.co_filename}:{code.co_firstlineno}: {self.title}: an annotation cannot be resolved: {error};"
                " import its names at run time, not only for type checkers"
            ) from error
        if self.is_stream and "return" in hints:
            hints["return"] = _item_type(hints["return"])
        return hints

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Name positional arguments. Raises TypeError as the function itself would."""
        return self.signature.bind(*args, **kwargs).arguments if args else kwargs

    # What comes in.

    @cached_property
    def inputs(self) -> frozenset[str]:
        """The parameters that are streams."""
        return frozenset(name for name in self.signature.parameters if is_streamed(self.hints.get(name)))

    @cached_property
    def _input(self) -> TypeAdapter[dict[str, Any]]:
        fields: dict[str, Any] = {}
        extra = "forbid"
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD:
                extra = "allow"
                continue
            hint = self.hints.get(name, Any)
            if name in self.inputs:
                if self.declaration.batching is not None:
                    raise TypeError(f"{self.title}: {name}: a batchable api takes rows, and no stream of them")
                hint = streamed(hint, self.title, name, is_async=self.declaration.is_async)
            else:
                hint = with_arrays(hint)
            fields[name] = Required[hint] if parameter.default is parameter.empty else NotRequired[hint]
        functional: Any = TypedDict  # with computed fields, which type checkers know nothing of
        shape = functional(self.name, fields)
        shape.__pydantic_config__ = {**CONFIG, "extra": extra}
        return adapter(shape, self.title)

    @cached_property
    def validate(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """Return the validated arguments of a call, or raise InvalidArgument naming each wrong field."""
        run = self._input.validator.validate_python

        def validate(args: dict[str, Any]) -> dict[str, Any]:
            try:
                return run(args)  # type: ignore[no-any-return]  # a dict, says the schema
            except ValidationError as error:
                plain = without_views(args)  # which a caller may have sent for bytes
                if plain is args:
                    raise self.invalid(error) from None
            return validate(plain)

        return validate

    def validate_json(self, body: bytes) -> dict[str, Any]:
        """Return the arguments that a JSON text holds, or raise InvalidArgument.

        Strict: what the JSON Schema of the api does not allow is refused, such as "3" for a number.
        """
        try:
            return self._from_json(body)
        except ValidationError as error:
            if not any(map(_is_whole, error.errors(include_url=False, include_context=False))):
                raise self.invalid(error) from None
        try:
            return self._from_json(to_json(_with_integers(from_json(body))))
        except ValidationError as error:
            raise self.invalid(error) from None

    def _from_json(self, body: bytes) -> dict[str, Any]:
        return read_json(self._input, body)  # type: ignore[no-any-return]  # a dict, says the schema

    @cached_property
    def form(self) -> FormSchema:
        """What reads the arguments out of a form."""
        parameters = [p for p in self.signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        required = [p.name for p in parameters if p.default is p.empty]
        return FormSchema(self, {p.name: self.hints.get(p.name, Any) for p in parameters}, required)

    def invalid(self, error: ValidationError) -> InvalidArgument:
        """Return the error that names the wrong fields, dotted where they lie deeper, `body` where it is the whole."""
        return self.refusal(details_of(error))

    def refusal(self, details: list[dict[str, Any]]) -> InvalidArgument:
        """Return the error that names these fields."""
        text = "; ".join(f"{detail['field']}: {detail['message']}" for detail in details)
        return InvalidArgument(f"{self.title}: {text}", details=details)

    # What goes out.

    @cached_property
    def _output(self) -> TypeAdapter[Any]:
        return adapter(with_arrays(self.hints.get("return", Any)), self.title)

    @cached_property
    def check(self) -> Callable[[Any], Any] | None:
        """What gives a result (or an item) back, or raises BadResult where its outermost type is not the declared one.

        None where nothing is to be checked before it travels; see `svcd.app.results`.
        """
        return check_of(self.hints.get("return", Any), self.title)

    @cached_property
    def sure_kinds(self) -> frozenset[type]:
        """The types of results (or items) that `check` would give back as they are, and that are no iterators."""
        return sure_kinds_of(self.hints.get("return", Any))

    @cached_property
    def rebuild(self) -> Callable[[Any], Any] | None:
        """What makes the declared type of a result that travelled, or None where it travels as itself."""
        if is_plain(self.hints.get("return", Any)):
            return None
        run = self._output.validator.validate_python

        def rebuild(value: Any) -> Any:
            try:
                return run(value)
            except ValidationError as error:
                fault = self.invalid(error)
                raise BadResult(f"the result is not what the api declares: {fault}") from None

        return rebuild

    def to_json(self, value: Any) -> bytes:
        """Return the JSON text of a result or an item. Raises BadResult naming the type that has none."""
        try:
            if "return" not in self.hints:
                return to_json(value, bytes_mode="base64", inf_nan_mode="null", fallback=_fallback)
            return self._output.serializer.to_json(value, warnings=False, fallback=_fallback)
        except (PydanticSerializationError, ValueError, TypeError) as error:
            raise BadResult(f"{self.title}: {type(value).__name__} cannot be written as JSON: {error}") from error

    # What is told.

    def describe(self) -> dict[str, Any]:
        """Return doc and JSON Schemas, as `svcd.schema` answers them."""
        return {
            "doc": inspect.getdoc(self._function) or "",
            "input": self._input_schema(),
            "output": json_schema(self._output, "serialization"),
            "is_stream": self.is_stream,
        }

    def _input_schema(self) -> dict[str, Any]:
        schema = json_schema(self._input, "validation")
        for name, field in schema.get("properties", {}).items():
            default = self.signature.parameters[name].default
            if default is not inspect.Parameter.empty:
                with suppress(PydanticSerializationError):  # one that has no JSON form
                    field["default"] = from_json(to_json(default, bytes_mode="base64"))
        return schema

    def only_field(self, wanted: type) -> str | None:
        """Return the parameter that a raw body of this type (bytes or str) goes to.

        It is the only parameter of that type, or one without annotation where it is alone, and no other is required.
        """
        parameters = [p for p in self.signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        fitting = [p for p in parameters if admits(self.hints.get(p.name, Any), wanted)]
        exact = [p for p in fitting if self.hints.get(p.name, Any) is not Any]
        chosen = exact or fitting
        if len(chosen) != 1:
            return None
        others_optional = all(p is chosen[0] or p.default is not p.empty for p in parameters)
        return chosen[0].name if others_optional else None

    @cached_property
    def stream_field(self) -> tuple[str, set[str]] | None:
        """The parameter whose items a body may be, and of what kinds they are; None unless it is the only stream."""
        if len(self.inputs) != 1:
            return None
        (name,) = self.inputs
        return name, result_kinds(_item_type(self.hints[name]))

    def result_kinds(self) -> set[str]:
        """Return what the results (or items) may be for a protocol that knows `text`, `bytes` and `json`."""
        return result_kinds(self.hints.get("return", Any))

    def item_type(self) -> Any:
        """Return the declared type of the result or of the stream's items; Any without one."""
        return self.hints.get("return", Any)


def schemas_of(cls: type, owner: str) -> dict[str, ApiSchema]:
    """Return the schemas of a service class by api; `owner` is the service's name in messages."""
    return {name: ApiSchema(owner, api, getattr(cls, api.attribute)) for name, api in apis_of(cls).items()}


def _item_type(annotation: Any) -> Any:
    if typing.get_origin(annotation) in _ITERATORS:
        args = typing.get_args(annotation)
        return args[0] if args else Any
    return Any


def _is_whole(error: Any) -> bool:
    """Whether an error is about 1.0 for an integer, which JSON Schema takes and pydantic does not."""
    return error["type"] == "int_type" and isinstance(error["input"], float) and error["input"].is_integer()


def _with_integers(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_integers(item) for item in value]
    if isinstance(value, dict):
        return {key: _with_integers(item) for key, item in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fallback(value: Any) -> Any:
    """Give arrays, their scalars and tensors a JSON form; anything else has none."""
    if type(value).__module__ in {"numpy", "torch"} and hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no JSON form")
