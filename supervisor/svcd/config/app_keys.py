"""The keys of `[app]`: its name, its HTTP, its logs, and what holds for all of its services."""

from __future__ import annotations

from svcd.config.http_kinds import ORIGIN, TOKEN, Flag, Texts
from svcd.config.keys import Key
from svcd.config.kinds import Address, Choice, Duration, FilePath, Size, Target, Text, Whole
from svcd.config.process_kinds import Between, Groups
from svcd.config.task_keys import TASK_KEYS
from svcd.values.specs import MOST_REPLICAS, Cors, Http, HttpLimits, Logs

_GRACE = 0.0
_HTTP, _CLIENT, _CORS, _LOGS = Http(), HttpLimits(), Cors(), Logs()

APP_KEYS = (
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
        Between(1, MOST_REPLICAS),
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
        "Shared memory in which one process may show arrays to others; 0 copies them all. It takes up what"
        " was in use at one time; pages ahead: called with 8 MiB or more, as much for the answer, 64 MiB at most."
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
