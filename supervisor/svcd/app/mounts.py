"""ASGI applications beside a service's apis: `@svcd.asgi_app(app, path="/x")`."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from svcd.app.declare import apis_of
from svcd.values.paths import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C", bound=type)

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+\Z")


@dataclass(frozen=True, slots=True)
class Mount:
    """One application and where it is."""

    path: str
    """Begins with a slash and ends without one; empty for the root."""
    app: Any
    """The application, or what makes it of the service instance."""
    is_factory: bool

    def make(self, instance: Any) -> Any:
        """Return the application. Raises TypeError when what was made is none."""
        if not self.is_factory:
            return self.app
        made = self.app(instance)
        if _count_parameters(made) != 3:
            raise TypeError(
                f"svcd.asgi_app(path={self.path or '/'!r}): {self.app!r} made {made!r}, which is no ASGI app"
            )
        return made


def asgi_app(app: Any, *, path: str = "/") -> Callable[[C], C]:
    """Serve an ASGI application (of FastAPI, Starlette, ...) at a path of the entry service, beside its apis.

    Its requests count as calls: they take a place among `max_concurrency`, end at the deadline, and are cancelled when
    the client goes away. Its lifespan runs with the replica. `request.state.service` is the service instance.

    Args:
        app: The application, or a function that takes the service instance and returns it.
        path: Where it is; it sees this as its `root_path`. At "/" it gets all that no api and no page has.

    Raises:
        TypeError: `app` is neither, or the path is none, or is taken by an api, a page or another application.
    """
    count = _count_parameters(app)
    if count not in (1, 3):
        raise TypeError(
            f"svcd.asgi_app({app!r}): takes an ASGI application, or a function of the service that makes one"
        )
    if path != "/" and not _PATH.match(path):
        raise TypeError(f"svcd.asgi_app(path={path!r}): write it as '/name', without a slash at its end")
    if path != "/" and path in PAGES:
        raise TypeError(f"svcd.asgi_app(path={path!r}): svcd has a page of its own there; take another path")
    mount = Mount("" if path == "/" else path, app, is_factory=count == 1)

    def declare(cls: C) -> C:
        if not isinstance(cls, type):
            raise TypeError(f"@svcd.asgi_app goes on a class, not on {cls!r}")
        if any(mount.path == other.path for other in mounts_of(cls)):
            raise TypeError(f"{cls.__name__}: two applications at {path}; give one of them another path")
        if mount.path[1:] in apis_of(cls):
            raise TypeError(
                f"{cls.__name__}: {path} is the path of the api {mount.path[1:]!r}; give the application another"
            )
        cls.__svcd_mounts__ = (*mounts_of(cls), mount)  # type: ignore[attr-defined]  # a mark on the user's class
        return cls

    return declare


def mounts_of(cls: type) -> tuple[Mount, ...]:
    """Return the applications of a class, those of its bases among them."""
    found: tuple[Mount, ...] = getattr(cls, "__svcd_mounts__", ())
    return found


def _count_parameters(function: Any) -> int | None:
    """Return how many positional arguments a callable needs, None for what is none."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if len(positional) < 3 and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 3  # app(*args), as some middleware has it
    return len(required)
