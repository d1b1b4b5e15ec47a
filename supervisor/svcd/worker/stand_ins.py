"""What `svcd.local(App, replace=...)` puts in the place of services."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import FunctionType
from typing import TYPE_CHECKING, Any

from svcd.app.declare import ApiDeclaration, declaration_of
from svcd.app.load import LoadError
from svcd.app.nearest import nearest
from svcd.app.schemas import ApiSchema, schemas_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from svcd.app.urls import UrlDependency


class StandIns:
    """The replacements of one local app; keys are classes, service names or `module:Class`."""

    def __init__(self, replacements: Mapping[type | str, Any]) -> None:
        self._by_text = {target_text(key): value for key, value in replacements.items()}
        self._used: set[str] = set()

    def __repr__(self) -> str:
        return f"<StandIns {self._by_text}>"

    def find(self, target: type | str) -> Any | None:
        """Return what stands in for a dependency's target, or None."""
        for text in _names(target):
            if text in self._by_text:
                self._used.add(text)
                return self._by_text[text]
        return None

    def check_url(self, owner: str, dependency: UrlDependency) -> None:
        """Raise LoadError where a dependency on a program has no URL to stand for it, or something else."""
        given = self.find(dependency.service)
        if isinstance(given, str) or (given is None and dependency.optional):
            return
        what = "is not started here" if given is None else f"is a program: {given!r} is not its URL"
        raise LoadError(
            f"{owner}.{dependency.name}: the command service {dependency.service} {what};"
            f' pass replace={{{dependency.service!r}: "http://..."}}'
        )

    def check_used(self, known: set[str]) -> None:
        """Raise LoadError for a replacement that replaces nothing of the app."""
        for text in self._by_text.keys() - self._used:
            raise LoadError(f"replace: nothing in this app depends on {nearest(text, known)}")


def target_text(target: type | str) -> str:
    """Return `module:Class` of a class, or the text as it is."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def _names(target: type | str) -> Iterator[str]:
    yield target_text(target)
    declaration = declaration_of(target)
    yield declaration.name if declaration else target_text(target).partition(":")[2]


def apis_of_stand_in(value: Any, original: type | str, name: str) -> Iterator[tuple[ApiDeclaration, ApiSchema, Any]]:
    """Yield declaration, schema and method for each api that an instance offers in the place of a service.

    Where the service's class is at hand, its apis are what is offered, held to its annotations; else the public methods
    of the instance's own class.
    """
    schemas = _schemas(value, original, name)
    for schema in schemas.values():
        method = getattr(value, schema.declaration.attribute, None)
        if not callable(method):
            raise LoadError(f"replace: {type(value).__name__} has no {schema.name}, an api of {name}")
        declaration = coloured(schema.declaration, method)
        if declaration.is_stream != schema.is_stream:
            kind = "a stream" if schema.is_stream else "no stream"
            raise LoadError(f"replace: {type(value).__name__}.{schema.name} should be {kind}, as {schema.title} is")
        yield declaration, schema, method


def coloured(declaration: ApiDeclaration, method: Any) -> ApiDeclaration:
    """Return the declaration with the colour that a method really has."""
    is_async_generator = inspect.isasyncgenfunction(method)
    return replace(
        declaration,
        is_async=is_async_generator or inspect.iscoroutinefunction(method),
        is_stream=is_async_generator or inspect.isgeneratorfunction(method),
    )


def _schemas(value: Any, original: type | str, name: str) -> dict[str, ApiSchema]:
    if isinstance(original, type):
        return schemas_of(original, name)
    schemas: dict[str, ApiSchema] = {}
    for attribute, member in inspect.getmembers(type(value), lambda member: isinstance(member, FunctionType)):
        if not attribute.startswith("_"):
            plain = ApiDeclaration(attribute, attribute, is_async=False, is_stream=False, idempotent=False)
            schemas[attribute] = ApiSchema(name, coloured(plain, member), member)
    return schemas
