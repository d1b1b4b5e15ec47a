"""`svcd.depends`: a named edge from one service to another."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from svcd.app.urls import depends_on_program, is_program

T = TypeVar("T")

DEFAULT_RETRIES = 2
"""Times that a call of an idempotent api is sent again after its replica was lost: it outlives two crashes in a row."""


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
    retries: int | None = None,
    fallback: type | str | None = None,
    optional: bool = False,
) -> Any:
    """Declare that this service calls another, or needs a command service.

    Args:
        target: The other service's class, or `"module:Class"` where it is not to be imported here. A name alone is that
            of a command service: the attribute is then the URL of a replica that is ready, as a str. It is looked up
            each time, goes round the replicas, and raises ServiceUnavailable where none is ready.
        timeout: Seconds one call may take, queueing included. Unless given, a call has what is left of the call that
            the caller serves, and the callee's own `timeout` where the caller serves none.
        retries: How often a call of an `idempotent` api is sent again after its replica was lost. Calls that were not
            delivered go to another replica in any case.
        fallback: A service with the same apis, which is called instead when this one is unavailable, overloaded, lost
            or too late; an error that its own code raises is no such fault.
        optional: This service becomes ready without it.
    """
    if is_program(target):
        return depends_on_program(target, optional=optional, timeout=timeout, retries=retries, fallback=fallback)
    retries = DEFAULT_RETRIES if retries is None else retries
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
