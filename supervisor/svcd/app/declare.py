"""The decorators of a service: they note what was declared and leave class and functions as they are.

Declarations are plain values that hang on what they describe (`__svcd_service__`, `__svcd_api__`, `__svcd_hook__`).
Configuration is taken as written and judged by the config layer, which knows all layers; only names are checked here.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from inspect import Parameter
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from svcd.app.apis import ApiDeclaration, Batching, parameters_of
from svcd.app.dependency import Dependency
from svcd.app.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ApiDeclaration",
    "Batching",
    "Dependency",
    "ServiceDeclaration",
    "apis_of",
    "declaration_of",
    "dependencies_of",
    "hooks_of",
    "on_shutdown",
    "on_startup",
    "service",
]

F = TypeVar("F", bound="Callable[..., Any]")
C = TypeVar("C", bound=type)

OPTIONS = frozenset(
    (
        *("instance_type", "resources", "traffic", "scaling", "envs", "threads", "async_backend", "version"),
        *("cwd", "umask", "nice", "rlimits"),
        *("start_timeout", "drain_timeout", "stop_timeout", "liveness", "readiness"),
    )
)
"""Keyword arguments of `service` besides `name`; the same words as the keys of `[services.X]`."""
_TOML_ONLY = frozenset(
    (
        *("python", "env_file", "user", "group", "after"),
        *("command", "type", "port", "url", "restart", "stop_signal"),  # of programs, which have no decorator
    )
)
_TABLES = ("resources", "traffic", "scaling", "envs", "rlimits", "liveness", "readiness")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_VARIADIC = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class ServiceDeclaration:
    """What `@svcd.service` said, and where."""

    name: str
    file: str
    line: int
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.file}:{self.line}"


@overload
def service(cls: C, /) -> C: ...
@overload
def service(*, name: str | None = None, **options: Any) -> Callable[[C], C]: ...
def service(cls: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
    """Declare a class as a service.

    Args:
        cls: The class, when used without arguments.
        name: Name of the service; the class's own name unless given. Unique within an app without regard to case.
        **options: `resources`, `traffic`, `scaling`, `envs`, `threads`, `async_backend`, `version`, `start_timeout`,
            `drain_timeout`, `stop_timeout`: the keys of `[services.NAME]` in svcd.toml, which override them.

    Raises:
        TypeError: An unknown option (the message names the nearest), a class whose `__init__` needs arguments, or an
            api that cannot be called by keyword.
    """
    frame = sys._getframe(1)  # noqa: SLF001  (the documented way to the caller's line; inspect.stack reads every file)
    _check_options(options)

    def declare(cls: C) -> C:
        if not isinstance(cls, type):
            raise TypeError(f"@svcd.service goes on a class, not on {cls!r}")
        _check_class(cls, name or cls.__name__)
        declaration = ServiceDeclaration(
            name=name or cls.__name__,
            file=frame.f_code.co_filename,
            line=frame.f_lineno if not decorated_bare else _first_line(cls, frame.f_lineno),
            config=options,
        )
        cls.__svcd_service__ = declaration  # type: ignore[attr-defined]  # a mark on the user's class
        return cls

    decorated_bare = cls is not None
    return declare(cls) if decorated_bare else declare


def _first_line(cls: type, fallback: int) -> int:
    # Python 3.13 notes it; before, the frame that applies the decorator stands on the decorator's line.
    line = cls.__dict__.get("__firstlineno__", fallback)
    return line if isinstance(line, int) else fallback


def on_startup(function: F) -> F:
    """Run this method after `__init__`, before the replica is ready; `async def` on the loop, `def` on its thread."""
    return _hook(function, "startup")


def on_shutdown(function: F) -> F:
    """Run this method when the replica stops, after its last call; `async def` on the loop, `def` on its thread."""
    return _hook(function, "shutdown")


def _hook(function: F, moment: str) -> F:
    if not isinstance(function, FunctionType):
        raise TypeError(f"@svcd.on_{moment} goes on a method declared with def or async def, not on {function!r}")
    function.__dict__["__svcd_hook__"] = moment
    return cast("F", function)


def declaration_of(cls: object) -> ServiceDeclaration | None:
    """Return what `@svcd.service` said of this very class; a subclass of a service is none until it says so itself."""
    found = cls.__dict__.get("__svcd_service__") if isinstance(cls, type) else None
    return found if isinstance(found, ServiceDeclaration) else None


def apis_of(cls: type) -> dict[str, ApiDeclaration]:
    """Return the apis of a class by name, inherited ones first."""
    found = (_mark(member, "__svcd_api__") for member in _members(cls).values())
    return {mark.name: mark for mark in found if isinstance(mark, ApiDeclaration)}


def dependencies_of(cls: type) -> dict[str, Dependency[Any]]:
    """Return the dependencies of a class by attribute."""
    return {name: member for name, member in _members(cls).items() if isinstance(member, Dependency)}


def hooks_of(cls: type, moment: str) -> list[str]:
    """Return the names of the methods to run at `startup` or `shutdown`, in the order of their declaration."""
    return [name for name, member in _members(cls).items() if _mark(member, "__svcd_hook__") == moment]


def _members(cls: type) -> dict[str, object]:
    members: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        members.update(vars(base))
    return members


def _mark(member: object, name: str) -> object:
    return member.__dict__.get(name) if isinstance(member, FunctionType) else None


def _check_options(options: Mapping[str, Any]) -> None:
    for key, value in options.items():
        if key in _TOML_ONLY:
            raise TypeError(f"svcd.service: {key} belongs in svcd.toml, under [services.NAME]")
        if key not in OPTIONS:
            raise TypeError(f"svcd.service: unknown option {nearest(key, ('name', *OPTIONS))}")
        if key in _TABLES and not isinstance(value, dict):
            raise TypeError(f"svcd.service: {key} is a table, such as {key}={{...}}, not {value!r}")


def _check_class(cls: type, name: str) -> None:
    if not _NAME.match(name):
        raise TypeError(f"svcd.service(name={name!r}): letters, digits, - and _, beginning with a letter")
    if cls.__dictoffset__ == 0:
        raise TypeError(
            f"{cls.__name__} has __slots__ without __dict__; svcd binds dependencies in the instance's dict"
        )
    constructor = vars(cls).get("__init__") or getattr(cls, "__init__", None)
    if isinstance(constructor, FunctionType):
        required = [p.name for p in parameters_of(constructor)[1:] if p.default is p.empty and p.kind not in _VARIADIC]
        if required:
            raise TypeError(
                f"{cls.__name__}.__init__ needs {', '.join(required)}; svcd makes a service without arguments"
            )
    seen: dict[str, str] = {}
    for member in _members(cls).values():
        mark = _mark(member, "__svcd_api__")
        if isinstance(mark, ApiDeclaration) and seen.setdefault(mark.name, mark.attribute) != mark.attribute:
            raise TypeError(f"{cls.__name__}: {seen[mark.name]} and {mark.attribute} are both the api {mark.name!r}")
