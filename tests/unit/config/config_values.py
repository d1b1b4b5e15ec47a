"""What tests of configuration set: two values for every key, in every layer that may have it."""

from __future__ import annotations

from typing import Any

from svcd.config import schema

LAYERS = ("decorator", "file", "profile", "second file", "second file's profile", "environment", "--set")

VALUES = {
    "app.service": ("a:Model", "b:Model"),
    "app.name": ("one", "two"),
    "app.http": ("localhost:1", "localhost:2"),
    "app.max_body": ("1Mi", "2Mi"),
    "app.max_header": ("8Ki", "9Ki"),
    "app.max_connections": (1, 2),
    "app.orphan_grace": ("1s", "2s"),
    **{f"app.{name}_timeout": ("1s", "2s") for name in ("header", "body", "idle", "total")},
    "app.cors.origins": (["https://one.example"], ["https://two.example"]),
    "app.cors.methods": (["PUT"], ["PATCH", "DELETE"]),
    **{f"app.cors.{name}": (["X-One"], ["X-One", "X-Two"]) for name in ("headers", "expose")},
    "app.cors.credentials": (True, False),
    "app.cors.max_age": ("1s", "2s"),
    "app.python": ("./one", "./two"),
    "app.start_parallelism": (1, 2),
    **{f"app.logs.{name}": ("1Mi", "2Mi") for name in ("size", "burst")},
    "app.logs.age": ("1s", "2s"),
    "app.async_backend": ("trio", "asyncio"),
    "app.tasks.store": ("./one", "./two"),
    **{f"app.tasks.{name}": (1, 2) for name in ("max_queued", "concurrency")},
    "app.tasks.max_size": ("1Mi", "2Mi"),
    "app.tasks.result_ttl": ("1s", "2s"),
    "app.ingress.replicas": (1, 2),
    "app.spin": ("50us", "1ms"),
    "app.arena": ("64Mi", "0"),
    "app.colocate": ([["Model", "Vote"]], [["Vote", "Model"]]),
    "services.*.instance_type": ("one", "two"),
    "services.*.resources.gpu": (1, 2),
    "services.*.resources.gpu_type": ("A100", "H100"),
    "services.*.resources.cpu": (1, "500m"),
    "services.*.resources.memory": ("1Gi", "2Gi"),
    "services.*.scaling.min_replicas": (2, 3),
    "services.*.scaling.max_replicas": (4, 5),
    "services.*.scaling.down_after": ("1s", "2s"),
    "services.*.traffic.concurrency": (1, 2),
    "services.*.traffic.timeout": ("1s", "2s"),
    "services.*.traffic.max_concurrency": (1, 2),
    "services.*.traffic.max_queue": (1, 2),
    "services.*.threads": (2, 3),
    "services.*.async_backend": ("trio", "asyncio"),
    "services.*.start_timeout": ("1s", "2s"),
    "services.*.drain_timeout": ("1s", "2s"),
    "services.*.stop_timeout": ("1s", "2s"),
    **{f"services.*.liveness.{name}": ("1s", "2s") for name in ("period", "timeout")},
    **{f"services.*.readiness.{name}": ("1s", "2s") for name in ("period", "timeout")},
    **{f"services.*.{probe}.threshold": (1, 2) for probe in ("liveness", "readiness")},
    "services.*.python": ("./one", "./two"),
    "services.*.cwd": ("./one", "./two"),
    "services.*.umask": ("027", "077"),
    "services.*.nice": (1, 2),
    **{f"services.*.rlimits.{name}": (1, 2) for name in ("nofile", "nproc", "rtprio", "sigpending")},
    **{f"services.*.rlimits.{name}": ("1Mi", "unlimited") for name in ("as", "core", "data", "fsize", "memlock")},
    **{f"services.*.rlimits.{name}": ("1Mi", "2Mi") for name in ("msgqueue", "stack")},
    "services.*.rlimits.cpu": ("1s", "2s"),
    "services.*.user": ("one", "two"),
    "services.*.group": ("one", "two"),
    "services.*.version": ("one", "two"),
    "services.*.env_file": (["one.env"], ["two.env"]),
    "services.*.envs.*": ("one", "two"),
    "services.*.after": (["Prog"], []),
    "services.*.command": (["one"], ["two", "--port={port}"]),
    "services.*.type": ("longrun", "oneshot"),
    "services.*.readiness.http": ("/one", "/two"),
    "services.*.readiness.tcp": (True, False),
    "services.*.readiness.exec": (["one"], ["two", "{port}"]),
    "services.*.readiness.notify": (True, False),
    "services.*.readiness.fd": (3, 4),
    "services.*.liveness.http": ("/one", "/two"),
    "services.*.liveness.exec": (["one"], ["two", "{port}"]),
    "services.*.port": (1, 2),
    "services.*.url": ("one://{port}", "two://{socket}"),
    "services.*.restart": ("never", "on-failure"),
    "services.*.stop_signal": ("SIGINT", "SIGQUIT"),
    "instance_types.*.gpu": (1, 2),
    "instance_types.*.gpu_type": ("A100", "H100"),
    "instance_types.*.cpu": (1, 2),
    "instance_types.*.memory": ("1Gi", "2Gi"),
}

NEEDS = {"services.*.resources.gpu_type": "services.Model.resources.gpu = 1\n"}
"""What else has to be said for a key to be right."""


def concrete(path: str) -> tuple[str, ...]:
    """Fill in the names of a key's path: the service is Model, or Prog for keys of programs; other names are `one`."""
    is_of_command = any(key.path == path and key.of == "command" for key in schema.KEYS)
    parts = path.replace("services.*", "services.Prog" if is_of_command else "services.Model").split(".")
    return tuple("one" if part == "*" else part for part in parts)


def toml_of(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(toml_of, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else f'"{value}"'


def applicable(key: schema.Key) -> list[str]:
    layers = list(LAYERS)
    if not key.path.startswith("services.") or not key.in_decorator:
        layers.remove("decorator")
    if key.path.startswith("instance_types."):
        layers = [layer for layer in layers if "profile" not in layer]
    return layers


def decorator(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """Nest a value as `@svcd.service` takes it."""
    tree: Any = value
    for part in reversed(path[2:]):
        tree = {part: tree}
    return tree


def variable(path: tuple[str, ...]) -> str:
    """Name the variable for a path as people do, in upper case but for chosen names."""
    return "SVCD__" + "__".join(part if part == "one" else part.upper() for part in path)


def shell_of(value: object) -> str:
    """Write a value as a variable has it: text without quotes."""
    return value if isinstance(value, str) else toml_of(value)
