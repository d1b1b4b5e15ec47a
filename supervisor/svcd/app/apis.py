"""`@svcd.api` and `@svcd.task`: the methods of a service that others may call."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from math import inf
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, overload

from svcd.app.dependency import DEFAULT_RETRIES
from svcd.app.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

F = TypeVar("F", bound="Callable[..., Any]")

_PROXY_WORDS = frozenset(("to_async", "to_sync"))


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
class Task:
    """How an api is run that was submitted instead of called."""

    timeout: float | None
    """Seconds that one run may take; None is no limit."""
    retries: int
    """How often it is run again after its replica was lost; 0 unless it is idempotent."""


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
    task: Task | None = None
    """None for an api that cannot be submitted."""


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
        _declare(function, "api", name, idempotent=idempotent, batching=batching)
        return function

    return declare if function is None else declare(function)


@overload
def task(function: F, /) -> F: ...
@overload
def task(
    *,
    name: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    retries: int = DEFAULT_RETRIES,
) -> Callable[[F], F]: ...
def task(
    function: Any = None,
    /,
    *,
    name: str | None = None,
    idempotent: bool = False,
    timeout: float | None = None,
    retries: int | None = None,
) -> Any:
    """Declare a method as a task: an api that clients may also submit, to fetch its result later.

    A task that was accepted is on disk, and outlives every process. One that is not idempotent is begun at most once:
    when what ran it died, it is reported as `lost`. One that is gets run again until it has ended.

    Args:
        function: The method, when used without arguments.
        name: Name of the api; the method's own name unless given.
        idempotent: Running it twice does no harm.
        timeout: Seconds that one run may take, from its start; no limit unless given. Plain calls have the service's.
        retries: How often an idempotent task is run again after the replica that ran it was lost; then it is `lost`.
            The end of svcd itself does not count.
    """
    if retries is not None and not idempotent:
        raise TypeError("svcd.task: retries is for tasks that may run twice; write idempotent=True with it")
    if retries is not None and retries < 0:
        raise ValueError(f"svcd.task(retries={retries!r}): 0 or more")
    if timeout is not None and not 0 < timeout < inf:
        raise ValueError(f"svcd.task(timeout={timeout!r}): seconds, more than 0")
    again = (DEFAULT_RETRIES if retries is None else retries) if idempotent else 0

    def declare(function: F) -> F:
        _declare(function, "task", name, idempotent=idempotent, task=Task(timeout, again))
        return function

    return declare if function is None else declare(function)


def _declare(
    function: Any,
    decorator: str,
    name: str | None,
    *,
    idempotent: bool,
    batching: Batching | None = None,
    task: Task | None = None,
) -> None:
    """Note on a function what was declared of it."""
    if not isinstance(function, FunctionType):
        raise TypeError(f"@svcd.{decorator} goes on a method declared with def or async def, not on {function!r}")
    _check_parameters(function)
    is_async_generator = inspect.isasyncgenfunction(function)
    function.__dict__["__svcd_api__"] = declared = ApiDeclaration(
        name=_checked_api_name(name or function.__name__, function),
        attribute=function.__name__,
        is_async=is_async_generator or inspect.iscoroutinefunction(function),
        is_stream=is_async_generator or inspect.isgeneratorfunction(function),
        idempotent=idempotent,
        batching=batching,
        task=task,
    )
    if declared.is_stream and batching is not None:
        raise TypeError(f"{function.__qualname__}: a stream cannot be batchable; return all rows at once")
    if declared.is_stream and task is not None:
        raise TypeError(f"{function.__qualname__}: a stream cannot be a task; return the result as a whole")


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


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a function, in order."""
    return list(inspect.signature(function).parameters.values())


def _check_parameters(function: FunctionType) -> None:
    parameters = parameters_of(function)
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
        raise TypeError(f"{function.__qualname__}: {name!r} cannot be the name of an api; take another")
    return name
