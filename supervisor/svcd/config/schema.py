"""Every key that a configuration can have: the one source of validation, defaults and the reference.

A key is here when its effect is built, and not before. `*` in a path stands for a name that the user chooses. Tables
under `[profiles.P]` take the keys of `[app]` and `[services.X]`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from svcd.config.command_keys import AFTER, COMMAND_KEYS
from svcd.config.envs import Env
from svcd.config.http_kinds import ORIGIN, TOKEN, Flag, Texts
from svcd.config.keys import Key, KeyPath, Table
from svcd.config.kinds import Address, Choice, Duration, FilePath, FilePaths, Size, Target, Text, Whole
from svcd.config.process_kinds import Between, Cores, Groups, Limit, Mask
from svcd.config.task_keys import TASK_KEYS
from svcd.values.specs import Cors, Http, HttpLimits, Limits, Logs, Probe, Process, Resources, Scaling, Traffic

__all__ = ("APP", "INSTANCE_TYPE", "KEYS", "ROOT", "SERVICE", "Key", "KeyPath", "Table", "default", "find", "key_at")

_GRACE = 0.0
_HTTP, _RESOURCES, _TRAFFIC, _SCALING, _LIMITS = Http(), Resources(), Traffic(), Scaling(), Limits()
_PROCESS, _CLIENT, _CORS, _PROBE, _LOGS = Process(), HttpLimits(), Cors(), Probe(), Logs()

_APP = (
    Key(
        "app.service",
        Target(),
        "The entry service: its module, looked up from this file's folder, and its class.",
        required=True,
    ),
    Key(
        "app.name",
        Text("name of at most 32 letters, digits, dots, dashes and underscores", r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}"),
        "Names the app's runtime and log folders; two apps on one machine need two names.",
        default_text="the folder's name",
    ),
    Key(
        "app.http",
        Address(),
        "Where the ingress listens. A port alone means this machine only; port 0 takes one that is free.",
        default=(_HTTP.host, _HTTP.port),
    ),
    Key(
        "app.orphan_grace",
        Duration(zero=True),
        "How long everything serves on without its daemon, for another to take over; 0 ends it with the daemon."
        " See [operating](operating.md#without-a-daemon).",
        default=_GRACE,
    ),
    Key("app.max_body", Size(), "A larger request body is answered 413.", default=_CLIENT.max_body),
    Key(
        "app.max_header",
        Size(),
        "A request whose line and headers are longer is answered 431.",
        default=_CLIENT.max_header,
    ),
    Key(
        "app.max_connections",
        Whole(1),
        "HTTP connections at one time. One more takes the place of one that is idle, else it is answered 503.",
        default=_CLIENT.max_connections,
    ),
    Key(
        "app.header_timeout",
        Duration(),
        "From the first byte of a request to the end of its headers; then it is answered 408.",
        default=_CLIENT.header_timeout,
    ),
    Key(
        "app.body_timeout",
        Duration(),
        "Between two pieces of a request body; then it is answered 408.",
        default=_CLIENT.body_timeout,
    ),
    Key(
        "app.idle_timeout",
        Duration(),
        "How long a connection is kept without a request.",
        default=_CLIENT.idle_timeout,
    ),
    Key(
        "app.total_timeout",
        Duration(),
        "From the end of a request's headers to the end of its answer; then the connection is closed.",
        default_text="the entry's `traffic.timeout` and 5 minutes",
    ),
    Key(
        "app.ingress.replicas",
        Whole(1),
        "Processes that take HTTP connections, all at the one address: for more requests than one core can pass on.",
        default=_HTTP.replicas,
    ),
    Key(
        "app.cors.origins",
        Texts('origins, such as "https://app.example.com"', ORIGIN),
        "Pages of these origins may read the answers; `*` is any. See [HTTP](http.md#cors).",
        default=_CORS.origins,
    ),
    Key("app.cors.methods", Texts("methods", TOKEN), "Methods that they may use.", default=_CORS.methods),
    Key(
        "app.cors.headers",
        Texts("header names", TOKEN),
        "Request headers that they may set; `*` is whichever they ask for.",
        default=_CORS.headers,
    ),
    Key("app.cors.expose", Texts("header names", TOKEN), "Response headers that they may read.", default=_CORS.expose),
    Key(
        "app.cors.credentials",
        Flag(),
        "Whether they may send cookies and authorization. Needs origins by name.",
        default=_CORS.credentials,
    ),
    Key(
        "app.cors.max_age",
        Duration(zero=True),
        "How long a browser may remember what is allowed.",
        default=_CORS.max_age,
    ),
    Key(
        "app.logs.size",
        Size(),
        "A log that would be larger is begun anew; five files are kept. See [logs](operating.md#logs).",
        default=_LOGS.size,
    ),
    Key("app.logs.age", Duration(), "A log whose first line is older is begun anew.", default=_LOGS.age),
    Key(
        "app.logs.burst",
        Size(),
        "What one process may print in ten seconds; more is dropped, and the log says how much.",
        default=_LOGS.burst,
    ),
    Key(
        "app.start_parallelism",
        Whole(1),
        "Replicas that may run `__init__` and `on_startup`, or start as programs, at the same time; the others wait.",
        default_text="any number",
    ),
    Key(
        "app.async_backend",
        Choice("trio", "asyncio"),
        "What runs the `async def` code of all services that say nothing else.",
        default="trio",
    ),
    Key(
        "app.spin",
        Duration(zero=True),
        "How long a process looks for a lone call's answer before it sleeps; see [spinning](operating.md#spinning).",
        default=0.0,
    ),
    Key(
        "app.arena",
        Size(zero=True),
        "Shared memory in which one process may show arrays to others; 0 copies them all."
        " See [large arrays](services.md#large-arrays).",
        default=1 << 30,
    ),
    Key(
        "app.colocate",
        Groups(),
        "Services that share a process and call each other without a socket; see [colocation](services.md#colocation).",
        default=(),
    ),
    *TASK_KEYS,
    Key(
        "app.python",
        FilePath(),
        "The interpreter of all services that name none of their own.",
        default_text="the one that svcd runs under",
    ),
)

_GPU = "Whole GPUs of each replica. A service that asks for none sees none."
_GPU_NAME = Text("name of a kind of GPU", r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_GPU_TYPE = (
    'The kind of GPU, by words of the name that `svcd gpus` shows: `"A100"` is not an A10, `"A100 80GB"` not any A100.'
)
_CPU = "CPUs of each replica, counted against those of the machine; see [isolation](isolation.md#cpu)."
_MEMORY = "Main memory of each replica; one that takes more is killed. See [isolation](isolation.md#memory)."

_RLIMITS = {
    "as": ("size", "address space"),
    "core": ("size", "a core file, which holds the secrets of its process"),
    "cpu": ("time", "CPU time in all"),
    "data": ("size", "data segment"),
    "fsize": ("size", "a file that it writes"),
    "memlock": ("size", "memory locked in RAM"),
    "msgqueue": ("size", "POSIX message queues"),
    "nofile": ("number", "open descriptors"),
    "nproc": ("number", "processes and threads of its user"),
    "rtprio": ("number", "real-time priority"),
    "sigpending": ("number", "signals that wait"),
    "stack": ("size", "stack"),
}
"""Limit of setrlimit(2) -> how it is measured, and what it limits."""
_RLIMIT_DEFAULTS = {"core": "0"}

_SERVICE = (
    Key(
        "instance_type",
        Text("name of an instance type"),
        "A shape of `[instance_types]` to start from; the layer's own `resources` overrule it.",
    ),
    Key("resources.gpu", Whole(0), _GPU, default=_RESOURCES.gpu),
    Key("resources.gpu_type", _GPU_NAME, _GPU_TYPE, default_text="any"),
    Key("resources.cpu", Cores(), _CPU, default_text="no share of its own"),
    Key("resources.memory", Size(), _MEMORY, default_text="no limit"),
    Key("scaling.min_replicas", Whole(1), "Replicas that are always kept.", default=_SCALING.min_replicas),
    Key(
        "scaling.max_replicas",
        Whole(1),
        "The most replicas; see [scaling](operating.md#scaling).",
        default_text="`min_replicas`",
        follows="services.*.scaling.min_replicas",
    ),
    Key(
        "scaling.down_after",
        Duration(),
        "How long a replica is kept that the load does not need.",
        default=_SCALING.down_after,
        of="class",
    ),
    Key(
        "traffic.concurrency",
        Whole(1),
        "Calls in flight and waiting that one replica is meant for; more of them start another, up to `max_replicas`.",
        default_text="`max_concurrency`",
        of="class",
    ),
    Key("traffic.timeout", Duration(), "Deadline of a call that brings none.", default=_TRAFFIC.timeout, of="class"),
    Key(
        "traffic.max_concurrency",
        Whole(1),
        "Calls that run at once in one replica; it answers busy beyond them.",
        default_text=f"{_TRAFFIC.max_concurrency}, or twice the largest `max_batch_size`",
        of="class",
    ),
    Key(
        "traffic.max_queue",
        Whole(0),
        "Calls that one caller keeps waiting for the service; beyond them a call fails as Overloaded.",
        default=_TRAFFIC.max_queue,
        of="class",
    ),
    Key("threads", Whole(1), "Threads of each replica that run its `def` apis.", default=1, of="class"),
    Key(
        "async_backend",
        Choice("trio", "asyncio"),
        "What runs its `async def` code; see [asyncio](services.md#asyncio).",
        default_text="`app.async_backend`",
        follows="app.async_backend",
        of="class",
    ),
    Key(
        "start_timeout",
        Duration(),
        "From exec to ready; a replica that takes longer is killed and started anew, five times at most.",
        default=_LIMITS.start,
    ),
    Key(
        "drain_timeout",
        Duration(zero=True),
        "For calls in flight to finish when a replica stops.",
        default=_LIMITS.drain,
    ),
    Key("stop_timeout", Duration(zero=True), "From SIGTERM to SIGKILL.", default=_LIMITS.stop),
    Key(
        "liveness.period",
        Duration(),
        "From one look at its signs of life to the next, and between two calls of `__is_alive__`."
        " See [probes](operating.md#probes).",
        default=_PROBE.period,
    ),
    Key(
        "liveness.timeout",
        Duration(),
        "How long its loops may be held up, its threads be stuck past a deadline, and `__is_alive__`, or a look, take.",
        default=_PROBE.timeout,
    ),
    Key(
        "liveness.threshold",
        Whole(1),
        "Failing looks in a row after which callers are kept away and it is replaced.",
        default=_PROBE.threshold,
    ),
    Key(
        "readiness.period",
        Duration(),
        "Between two calls of its hook `__is_ready__`, or two looks at a program.",
        default=_PROBE.period,
    ),
    Key("readiness.timeout", Duration(), "How long the hook, or the look, may take.", default=_PROBE.timeout),
    Key(
        "readiness.threshold",
        Whole(1),
        "Failing calls or looks in a row after which callers are kept away until one succeeds.",
        default=_PROBE.threshold,
    ),
    Key(
        "python",
        FilePath(),
        "The service's own interpreter, of a virtual environment, say.",
        default_text="`app.python`",
        follows="app.python",
        in_decorator=False,
    ),
    Key("cwd", FilePath(), "Working directory of each replica.", default_text="the app's folder"),
    Key("umask", Mask(), "Permissions that files it makes do not get.", default=_PROCESS.umask),
    Key("nice", Between(-20, 19), "Scheduling priority; below 0 only when svcd is root.", default=_PROCESS.nice),
    *(
        Key(
            f"rlimits.{name}",
            Limit(measure),
            f"Most for {what}.",
            default_text=_RLIMIT_DEFAULTS.get(name, "svcd's own"),
        )
        for name, (measure, what) in _RLIMITS.items()
    ),
    Key(
        "user",
        Text("name or number of a user"),
        "Runs each replica as this user; svcd has to be root. See [isolation](isolation.md#users).",
        default_text="svcd's own",
        in_decorator=False,
    ),
    Key(
        "group",
        Text("name or number of a group"),
        "Its group, in place of those of `user`; svcd has to be root.",
        default_text="`user`'s own",
        in_decorator=False,
    ),
    Key("version", Text(), "A label for this version of the service.", default_text="fingerprint of its source"),
    Key(
        "env_file",
        FilePaths(),
        "Dotenv files whose variables stand just under the `envs` of the layer that names them.",
        in_decorator=False,
    ),
    Key("envs.*", Env(), "A variable of its environment; see [Environment](#environment)."),
    AFTER,
    *COMMAND_KEYS,
)

_INSTANCE_TYPE = (
    Key("gpu", Whole(0), _GPU),
    Key("gpu_type", _GPU_NAME, _GPU_TYPE),
    Key("cpu", Cores(), _CPU),
    Key("memory", Size(), _MEMORY),
)


def _under(prefix: str, keys: tuple[Key, ...]) -> tuple[Key, ...]:
    return tuple(replace(key, path=f"{prefix}.{key.path}") for key in keys)


KEYS: tuple[Key, ...] = (*_APP, *_under("services.*", _SERVICE), *_under("instance_types.*", _INSTANCE_TYPE))


def _tree(keys: tuple[Key, ...]) -> Table:
    root = Table()
    for key in keys:
        table = root
        *tables, last = key.path.split(".")
        for name in tables:
            table = table.grow(name)
        if last == "*":
            table.named = key
        else:
            table.children[last] = key
    profile = root.grow("profiles").grow("*")
    profile.children.update({name: root.children[name] for name in ("app", "services")})
    return root


ROOT = _tree(KEYS)
APP = ROOT.grow("app")
SERVICE = ROOT.grow("services").grow("*")
"""The keys of one service, which a decorator has too."""
INSTANCE_TYPE = ROOT.grow("instance_types").grow("*")


def find(path: KeyPath) -> Table | Key | None:
    """Return what a path leads to, None when it leads nowhere."""
    node: Table | Key | None = ROOT
    for name in path:
        node = node.child(name) if isinstance(node, Table) else None
    return node


def key_at(path: KeyPath) -> Key:
    """Return the key at a path that has been validated."""
    node = find(path)
    if not isinstance(node, Key):
        raise KeyError(path)
    return node


def default(path: str) -> Any:
    """Return the default of a key, by its path in KEYS; None where it has no constant one."""
    return _DEFAULTS[path]


_DEFAULTS = {key.path: key.default for key in KEYS}
