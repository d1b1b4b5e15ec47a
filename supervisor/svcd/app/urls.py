"""Dependencies on command services: `svcd.depends("Llm")`, which on an instance is the URL of a replica that is ready.

Law: the attribute is looked up each time that it is read, so that it follows restarts and goes round the replicas; on
the instance there is nothing that could be kept by mistake but the text itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_SOURCES = "svcd.urls"
"""The key in an instance's dict of what gives its URLs; no attribute can have it, because of the dot."""


class UrlDependency:
    """A named edge from a service to a program."""

    def __init__(self, service: str, *, optional: bool) -> None:
        self.service = service
        """Name of the command service, as `[services.NAME]` has it."""
        self.optional = optional
        self.name = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if name.startswith("__"):
            raise TypeError(f"{owner.__name__}.{name}: a dependency needs a name without leading underscores")
        self.name, self.owner = name, owner.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> UrlDependency: ...
    @overload
    def __get__(self, instance: object, owner: type) -> str: ...
    def __get__(self, instance: object | None, owner: type) -> UrlDependency | str:
        # No __set__: a test may put a text of its own on the instance.
        if instance is None:
            return self
        source: Callable[[], str] | None = instance.__dict__.get(_SOURCES, {}).get(self.name)
        if source is not None:
            return source()
        raise RuntimeError(
            f"{owner.__name__}.{self.name} is not connected, because this {owner.__name__} was made by a plain call;"
            f" use svcd.local({owner.__name__}, replace={{{self.service!r}: URL}}) in tests and notebooks, or svcd up"
        )

    def __repr__(self) -> str:
        return f"<svcd.depends {self.owner}.{self.name} -> {self.service}>"


def is_program(target: object) -> bool:
    """Whether what `depends` was given names a command service: a class is written `module:Class`."""
    return isinstance(target, str) and ":" not in target


def depends_on_program(service: str, *, optional: bool, **of_calls: Any) -> UrlDependency:
    """Return the dependency on a program. Raises TypeError for options that only calls have, unless they are None."""
    if _NAME.match(service) is None:
        raise TypeError(f"svcd.depends({service!r}): write 'module:Class', or the name of a command service")
    for option, value in of_calls.items():
        if value is not None:
            raise TypeError(
                f"svcd.depends({service!r}, {option}=...): {option} is for calls, and {service!r} names a command"
                " service, which is its URL; a class is written 'module:Class'"
            )
    return UrlDependency(service, optional=optional)


def urls_of(cls: type) -> dict[str, UrlDependency]:
    """Return the dependencies of a class on programs, by attribute."""
    members: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        members.update(vars(base))
    return {name: member for name, member in members.items() if isinstance(member, UrlDependency)}


def bind_url(instance: Any, name: str, source: Callable[[], str]) -> None:
    """Have `source` give the URL that the attribute `name` of an instance is."""
    instance.__dict__.setdefault(_SOURCES, {})[name] = source
