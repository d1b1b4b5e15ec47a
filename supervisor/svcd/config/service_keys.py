"""The keys of `[services.X]`, which `@svcd.service` takes too, and of the instance types that they start from."""

from __future__ import annotations

from svcd.config.command_keys import AFTER, COMMAND_KEYS
from svcd.config.envs import Env
from svcd.config.keys import Key
from svcd.config.kinds import Choice, Duration, FilePath, FilePaths, Size, Text, Whole
from svcd.config.process_kinds import Between, Cores, Limit, Mask
from svcd.values.specs import MOST_REPLICAS, MOST_THREADS, Limits, Probe, Process, Resources, Scaling, Traffic

_RESOURCES, _TRAFFIC, _SCALING, _LIMITS = Resources(), Traffic(), Scaling(), Limits()
_PROCESS, _PROBE = Process(), Probe()

_GPU = "Whole GPUs of each replica. A service that asks for none sees none."
_GPU_NAME = Text("name of a kind of GPU", r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_GPU_TYPE = (
    'The kind of GPU, by words of the name that `svcd gpus` shows: `"A100"` is not an A10, `"A100 80GB"` not any A100.'
)
_CPU = "CPUs of each replica, counted against those of the machine; see [isolation](isolation.md#cpu)."
_MEMORY = "Main memory of each replica; one that takes more is killed. See [isolation](isolation.md#memory)."

_RLIMITS = {
    "as": ("size", "its address space"),
    "core": ("size", "a core file, which holds the secrets of its process"),
    "cpu": ("time", "its CPU time in all"),
    "data": ("size", "its data segment"),
    "fsize": ("size", "each file that it writes"),
    "memlock": ("size", "memory that it locks in RAM"),
    "msgqueue": ("size", "its POSIX message queues"),
    "nofile": ("number", "its open descriptors"),
    "nproc": ("number", "processes and threads of its user together"),
    "rtprio": ("number", "its real-time priority"),
    "sigpending": ("number", "signals that wait for it"),
    "stack": ("size", "the stack of its main thread"),
}
"""Limit of setrlimit(2) -> how it is measured, and what it limits."""
_RLIMIT_DEFAULTS = {"core": "0"}

SERVICE_KEYS = (
    Key(
        "instance_type",
        Text("name of an instance type"),
        "A shape of `[instance_types]` to start from; the layer's own `resources` overrule it.",
    ),
    Key("resources.gpu", Whole(0), _GPU, default=_RESOURCES.gpu),
    Key("resources.gpu_type", _GPU_NAME, _GPU_TYPE, default_text="any"),
    Key("resources.cpu", Cores(), _CPU, default_text="no share of its own"),
    Key("resources.memory", Size(), _MEMORY, default_text="no limit"),
    Key(
        "scaling.min_replicas",
        Between(1, MOST_REPLICAS),
        "Replicas that are always kept.",
        default=_SCALING.min_replicas,
    ),
    Key(
        "scaling.max_replicas",
        Between(1, MOST_REPLICAS),
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
    Key(
        "threads",
        Between(1, MOST_THREADS),
        "Threads of each replica that run its `def` apis.",
        default=1,
        of="class",
    ),
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
            f"Limit on {what}.",
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

INSTANCE_TYPE_KEYS = (
    Key("gpu", Whole(0), _GPU),
    Key("gpu_type", _GPU_NAME, _GPU_TYPE),
    Key("cpu", Cores(), _CPU),
    Key("memory", Size(), _MEMORY),
)
