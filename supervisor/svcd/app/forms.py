"""Arguments out of a form, where all that comes is text and bytes.

A text is taken as it stands where its parameter takes text or bytes. Else it is read as JSON or, where that does not
fit, as the string that it would be in JSON (a date, the value of an enum); strict, so that what fits is what the JSON
Schema of the api allows. A part that says it is JSON is nothing else, or null when it is empty. Nothing in a form tells
a list of one from its only item, nor an empty list from none: a parameter that takes a list takes both.
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from svcd.app.adapters import adapter, details_of
from svcd.app.annotations import admits, is_list, item_of, with_arrays
from svcd.app.strict_json import read_json
from svcd_ipc.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import TypeAdapter

    from svcd.app.schemas import ApiSchema

One = str | bytes | dict[str, str]
"""What a field holds: a text, bytes, or `{"json": text}`."""


class FormSchema:
    """Reads the forms of one api.

    Args:
        schema: The api's, which validates the whole.
        hints: Its parameters' annotations.
        required: Those without a default.
    """

    def __init__(self, schema: ApiSchema, hints: Mapping[str, Any], required: Iterable[str]) -> None:
        self._schema = schema
        self._lists = [name for name in required if is_list(hints[name])]
        self._fields = {name: _Field(hint, schema.title) for name, hint in hints.items()}

    def __repr__(self) -> str:
        return f"<FormSchema {self._schema.title}>"

    def validate(self, form: Mapping[str, One | list[One]], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the arguments that a form holds, or raise InvalidArgument naming each wrong field.

        A field that came more than once has a list of values. `given` are arguments that came otherwise.
        """
        args: dict[str, Any] = {name: [] for name in self._lists}
        details: list[dict[str, Any]] = []
        for name, value in form.items():
            args[name] = value
            if name in self._fields:
                try:
                    args[name] = self._fields[name].read(value)
                except ValidationError as error:
                    details += details_of(error, within=(name,))
        args |= given or {}
        if details:
            raise self._schema.refusal(details + self._missing_or_unknown(args, {item["field"] for item in details}))
        return self._schema.validate(args)

    def _missing_or_unknown(self, args: dict[str, Any], wrong: set[str]) -> list[dict[str, Any]]:
        """Return what else is wrong, so that all is said at once."""
        try:
            self._schema.validate(args)
        except InvalidArgument as error:
            known = {field.partition(".")[0] for field in wrong}
            return [item for item in error.details if item["field"].partition(".")[0] not in known]
        return []


class _Field:
    """One parameter."""

    def __init__(self, hint: Any, title: str) -> None:
        self._hint = hint
        self._title = title

    def read(self, value: One | list[One]) -> Any:
        """Return the argument, or what validates as it. Raises ValidationError."""
        if isinstance(value, list):
            return self._read_list(value)
        if isinstance(value, dict):
            return self._first_fitting((value["json"] or "null",))
        if isinstance(value, bytes):
            return [value] if is_list(self._hint) else value
        taken = _as_it_stands(self._hint, value)
        return self._read_text(value) if taken is None else taken

    def _read_text(self, text: str) -> Any:
        if not is_list(self._hint):
            return self._first_fitting((text, _string(text)))
        item = _as_it_stands(item_of(self._hint), text)
        if isinstance(item, bytes):
            return [item]
        if text.lstrip().startswith("[") and _is_json(text):
            return self._first_fitting((text,))
        return self._first_fitting((text, _string(text), f"[{_string(text)}]", f"[{text}]"))

    def _read_list(self, values: list[One]) -> Any:
        hint = item_of(self._hint)
        items = [_as_it_stands(hint, value) if isinstance(value, str) else value for value in values]
        if not any(item is None or isinstance(item, dict) for item in items):
            return items
        texts = [
            value["json"] if isinstance(value, dict) else value for value in values if not isinstance(value, bytes)
        ]
        read = ",".join(text if _is_json(text) else _string(text) for text in texts)
        return self._first_fitting((f"[{read}]", f"[{','.join(map(_string, texts))}]"))

    def _first_fitting(self, candidates: Iterable[str]) -> Any:
        """Return the value of the first JSON text that fits. Raises the error of the first that is JSON at all."""
        errors = []
        for text in candidates:
            try:
                return read_json(self._adapter, text)
            except ValidationError as error:
                errors.append(error)
        raise next((error for error in errors if error.errors()[0]["type"] != "json_invalid"), errors[-1])

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return adapter(with_arrays(self._hint), self._title)


def _as_it_stands(hint: Any, text: str) -> str | bytes | None:
    if admits(hint, str):
        return text
    return text.encode() if admits(hint, bytes) else None


def _string(text: str) -> str:
    return to_json(text).decode()


def _is_json(text: str) -> bool:
    with suppress(ValueError):
        from_json(text)
        return True
    return False
