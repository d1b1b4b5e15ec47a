"""svcd turns one GPU box into a small, dependable inference platform.

The public face is lazy: `import svcd` loads none of it, and a name costs its own module only when it is first used, so
that reading an app's declarations needs neither trio nor pydantic.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from svcd.app.apis import api, task
    from svcd.app.declare import on_shutdown, on_startup, service
    from svcd.app.dependency import depends
    from svcd.app.mounts import asgi_app
    from svcd.client import AsyncClient, Client
    from svcd.tasks.errors import QueueFull, StoreUnusable, TaskCancelled, TaskExists, TaskNotDone, UnknownTask
    from svcd.tasks.states import TaskStatus
    from svcd.worker.gather import gather
    from svcd.worker.local import local
    from svcd.worker.portal import CallCancelled
    from svcd_ipc.channel import current_call
    from svcd_ipc.errors import (
        BadResult,
        CallError,
        DeadlineExceeded,
        EncodeError,
        InvalidArgument,
        Overloaded,
        RemoteError,
        ReplicaLost,
        ServiceUnavailable,
        UnknownApi,
    )
    from svcd_ipc.memory import empty

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("api", "task"), "svcd.app.apis"),
    **dict.fromkeys(("on_shutdown", "on_startup", "service"), "svcd.app.declare"),
    "depends": "svcd.app.dependency",
    "asgi_app": "svcd.app.mounts",
    **dict.fromkeys(("AsyncClient", "Client"), "svcd.client"),
    **dict.fromkeys(
        ("QueueFull", "StoreUnusable", "TaskCancelled", "TaskExists", "TaskNotDone", "UnknownTask"),
        "svcd.tasks.errors",
    ),
    "TaskStatus": "svcd.tasks.states",
    "gather": "svcd.worker.gather",
    "local": "svcd.worker.local",
    "CallCancelled": "svcd.worker.portal",
    "current_call": "svcd_ipc.channel",
    "empty": "svcd_ipc.memory",
    **dict.fromkeys(
        (
            *("BadResult", "CallError", "DeadlineExceeded", "EncodeError", "InvalidArgument", "Overloaded"),
            *("RemoteError", "ReplicaLost", "ServiceUnavailable", "UnknownApi"),
        ),
        "svcd_ipc.errors",
    ),
}

__all__ = [
    "AsyncClient",
    "BadResult",
    "CallCancelled",
    "CallError",
    "Client",
    "DeadlineExceeded",
    "EncodeError",
    "InvalidArgument",
    "Overloaded",
    "QueueFull",
    "RemoteError",
    "ReplicaLost",
    "ServiceUnavailable",
    "StoreUnusable",
    "TaskCancelled",
    "TaskExists",
    "TaskNotDone",
    "TaskStatus",
    "UnknownApi",
    "UnknownTask",
    "__version__",
    "api",
    "asgi_app",
    "current_call",
    "depends",
    "empty",
    "gather",
    "local",
    "on_shutdown",
    "on_startup",
    "service",
    "task",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'svcd' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (`import svcd` alone must cost nothing)

    value = getattr(import_module(home), name)
    globals()[name] = value  # the next use finds it without coming here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
