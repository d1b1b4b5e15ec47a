"""The decorators of a service: they note what was declared and leave class and functions as they are.

Declarations are plain values that hang on what they describe (`__svcd_service__`, `__svcd_api__`, `__svcd_hook__`).
Configuration is taken as written and judged by the config layer, which knows all layers; only names are checked here.
"""

from __future__ import annotations

import inspect
import re
import sys
from dataclasses import dataclass, field
from math import inf
from types import FunctionType
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, overload

from svcd.app.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")
C = TypeVar("C", bound=type)

OPTIONS = frozenset(
    (
        *("instance_type", "resources", "traffic", "scaling", "envs", "threads", "async_backend", "version"),
        *("cwd", "umask", "nice", "rlimits"),
        *("start_timeout", "drain_timeout", "stop_timeout"),
    )
)
"""Keyword arguments of `service` besides `name`; the same words as the keys of `[services.X]`."""
_TOML_ONLY = frozenset(("python", "env_file", "user", "group"))
_TABLES = ("resources", "traffic", "scaling", "envs", "rlimits")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")
_PROXY_WORDS = frozenset(("to_async", "to_sync"))


DEFAULT_RETRIES = 2
"""Times that a call of an idempotent api is sent again after its replica was lost: it outlives two crashes in a row."""


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


@dataclass(frozen=True, slots=True)
class Batching:
    """How the calls of an api are gathered into batches."""

    axis_in: int
    axis_out: int
    """Axis of the rows in arrays among the arguments, and among the results."""
    max_batch_size: int
    """The most rows of a batch."""
    max_latency_ms: float
    """The most milliseconds for which a call waits for company while nothing else holds it up."""


@dataclass(frozen=True, slots=True)
class ApiDeclaration:
    """One method that others may call."""

    name: str
    attribute: str
    """Name of the method; differs from `name` where the api was renamed."""
    is_async: bool
    """Declared with `async def`: callers await it; otherwise a call blocks."""
    is_stream: bool
    """Yields its results one by one."""
    idempotent: bool
    """Running it twice does no harm, so a call that may have run can be sent again."""
    batching: Batching | None = None
    """None for an api that takes its calls one by one."""


class Dependency(Generic[T]):
    """A named edge from a service to another; on an instance the attribute is the proxy that calls it."""

    def __init__(
        self,
        target: type[T] | str,
        *,
        timeout: float | None,
        retries: int,
        optional: bool,
        fallback: type | str | None = None,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self.retries = retries
        self.optional = optional
        self.fallback: Dependency[Any] | None = None
        """The service to call instead, as a dependency of its own that holds nothing up."""
        if fallback is not None:
            self.fallback = Dependency(fallback, timeout=None, retries=retries, optional=True)
        self.name = ""
        self.owner = ""

    def __set_name__(self, owner: type, name: str) -> None:
        if name.startswith("__"):
            raise TypeError(f"{owner.__name__}.{name}: a dependency needs a name without leading underscores")
        self.name = name
        self.owner = owner.__name__
        if self.fallback is not None:
            self.fallback.name, self.fallback.owner = name, owner.__name__

    @overload
    def __get__(self, instance: None, owner: type) -> Dependency[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> Dependency[T] | T:
        # No __set__: a bound proxy (or a fake) in the instance's dict is found first and this is never reached.
        if instance is None:
            return self
        raise RuntimeError(
            f"{owner.__name__}.{self.name} is not connected, because this {owner.__name__} was made by a plain call;"
            f" use svcd.local({owner.__name__}) in tests and notebooks, or svcd up"
        )

    @property
    def target_text(self) -> str:
        """The callee as `module:Class`."""
        if isinstance(self.target, str):
            return self.target
        return f"{self.target.__module__}:{self.target.__qualname__}"

    def __repr__(self) -> str:
        return f"<svcd.depends {self.owner}.{self.name} -> {self.target_text}>"


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


@overload
def api(function: F, /) -> F: ...
@overload
def api(
    *,
    name: str | None = None,
    idempotent: bool = False,
    batchable: bool = False,
    batch_dim: int | tuple[int, int] = 0,
    max_batch_size: int = 32,
    max_latency_ms: float = 5,
) -> Callable[[F], F]: ...
def api(
    function: Any = None, /, *, name: str | None = None, idempotent: bool = False, batchable: bool = False, **more: Any
) -> Any:
    """Declare a method as an api, which other services and HTTP clients may call by keyword.

    `async def` methods run on the event loop, `def` methods on the service's thread; methods that yield are streams.

    Args:
        function: The method, when used without arguments.
        name: Name of the api; the method's own name unless given.
        idempotent: A call that may have run when its replica was lost can be sent to another.
        batchable: The method takes and returns rows (arrays, lists), one result for each. Calls that come at the same
            time are run as one, and each caller gets its own rows back.
        batch_dim: Axis of the rows in arrays; a pair where arguments and results differ.
        max_batch_size: The most rows of a batch; a call with more is run in pieces.
        max_latency_ms: The most milliseconds for which a call is held back for company that is to be expected.
    """
    batching = _batching(batchable, more)

    def declare(function: F) -> F:
        if not isinstance(function, FunctionType):
            raise TypeError(f"@svcd.api goes on a method declared with def or async def, not on {function!r}")
        _check_parameters(function)
        is_async_generator = inspect.isasyncgenfunction(function)
        function.__dict__["__svcd_api__"] = ApiDeclaration(
            name=_checked_api_name(name or function.__name__, function),
            attribute=function.__name__,
            is_async=is_async_generator or inspect.iscoroutinefunction(function),
            is_stream=is_async_generator or inspect.isgeneratorfunction(function),
            idempotent=idempotent,
            batching=batching,
        )
        if batching is not None and function.__dict__["__svcd_api__"].is_stream:
            raise TypeError(f"{function.__qualname__}: a stream cannot be batchable; return all rows at once")
        return cast("F", function)

    return declare if function is None else declare(function)


_BATCHING = {"batch_dim": 0, "max_batch_size": 32, "max_latency_ms": 5}
"""Options of a batchable api and their defaults."""


def _batching(batchable: bool, options: Mapping[str, Any]) -> Batching | None:
    """Return how to batch. Raises TypeError for an unknown option, ValueError for one that cannot be."""
    for option in options:
        if option not in _BATCHING:
            known = ("name", "idempotent", "batchable", *_BATCHING)
            raise TypeError(f"svcd.api: unknown option {nearest(option, known)}")
        if not batchable:
            raise TypeError(f"svcd.api: {option} is for batches; write batchable=True with it")
    if not batchable:
        return None
    said = {**_BATCHING, **options}
    dim, size, latency = said["batch_dim"], said["max_batch_size"], said["max_latency_ms"]
    axes = dim if isinstance(dim, tuple) else (dim, dim)
    if len(axes) != 2 or not all(type(axis) is int and axis >= 0 for axis in axes):
        raise ValueError(f"svcd.api(batch_dim={dim!r}): an axis counted from 0, or a pair (of arguments, of results)")
    if type(size) is not int or size < 1:
        raise ValueError(f"svcd.api(max_batch_size={size!r}): rows, 1 or more")
    if not isinstance(latency, int | float) or not 0 <= latency < inf:
        raise ValueError(f"svcd.api(max_latency_ms={latency!r}): milliseconds, 0 or more")
    return Batching(*axes, max_batch_size=size, max_latency_ms=latency)


@overload
def depends(
    target: type[T],
    *,
    timeout: float | None = None,
    retries: int = DEFAULT_RETRIES,
    fallback: type | str | None = None,
    optional: bool = False,
) -> T: ...
@overload
def depends(
    target: str,
    *,
    timeout: float | None = None,
    retries: int = DEFAULT_RETRIES,
    fallback: type | str | None = None,
    optional: bool = False,
) -> Any: ...
def depends(
    target: Any,
    *,
    timeout: float | None = None,
    retries: int = DEFAULT_RETRIES,
    fallback: type | str | None = None,
    optional: bool = False,
) -> Any:
    """Declare that this service calls another.

    Args:
        target: The other service's class, or `"module:Class"` where it is not to be imported here.
        timeout: Seconds one call may take, queueing included. Unless given, a call has what is left of the call that
            the caller serves, and the callee's own `timeout` where the caller serves none.
        retries: How often a call of an `idempotent` api is sent again after its replica was lost. Calls that were not
            delivered go to another replica in any case.
        fallback: A service with the same apis, which is called instead when this one is unavailable, overloaded, lost
            or too late; an error that its own code raises is no such fault.
        optional: This service becomes ready without it.
    """
    if isinstance(target, str):
        _check_target(target)
    elif not isinstance(target, type):
        raise TypeError(f"svcd.depends({target!r}): takes a service class or 'module:Class'")
    if timeout is not None and not timeout > 0:
        raise ValueError(f"svcd.depends(timeout={timeout!r}): seconds, more than 0")
    if retries < 0:
        raise ValueError(f"svcd.depends(retries={retries!r}): 0 or more")
    if isinstance(fallback, str):
        _check_target(fallback)
    elif fallback is not None and not isinstance(fallback, type):
        raise TypeError(f"svcd.depends(fallback={fallback!r}): takes a service class or 'module:Class'")
    return Dependency(target, timeout=timeout, retries=retries, fallback=fallback, optional=optional)


def _check_target(text: str) -> None:
    module, _, name = text.partition(":")
    if not module or not name:
        raise TypeError(f"svcd.depends({text!r}): write it as 'module:Class'")


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
        required = [p.name for p in _parameters(constructor)[1:] if p.default is p.empty and p.kind not in _VARIADIC]
        if required:
            raise TypeError(
                f"{cls.__name__}.__init__ needs {', '.join(required)}; svcd makes a service without arguments"
            )
    seen: dict[str, str] = {}
    for member in _members(cls).values():
        mark = _mark(member, "__svcd_api__")
        if isinstance(mark, ApiDeclaration) and seen.setdefault(mark.name, mark.attribute) != mark.attribute:
            raise TypeError(f"{cls.__name__}: {seen[mark.name]} and {mark.attribute} are both the api {mark.name!r}")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _check_parameters(function: FunctionType) -> None:
    parameters = _parameters(function)
    if not parameters or parameters[0].kind not in (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    ):
        raise TypeError(f"{function.__qualname__}: an api is a method, its first parameter is self")
    for parameter in parameters[1:]:
        if parameter.kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL):
            raise TypeError(
                f"{function.__qualname__}: {parameter.name} cannot be given by keyword, and calls carry keywords only"
            )


def _checked_api_name(name: str, function: FunctionType) -> str:
    if not name.isidentifier() or name in _PROXY_WORDS:
        raise TypeError(f"{function.__qualname__}: {name!r} cannot be the name of an api")
    return name
