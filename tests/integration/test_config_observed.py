"""No key without effect: each key of the schema has an observer that sees it in a running app.

`OBSERVERS` has each key's: a function that looks at the running app, or the place of another test that does.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from observed_app import CLOSE, GET, ORIGIN, RLIMITS, call, environ, headers_of, http, pid_of, preflight, proc, write

from fakenvml.box import Box
from running import PATIENCE, SVCD, RunningApp, wait_until
from svcd.config import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def entry(app: RunningApp) -> None:
    assert app.post("who") == (200, b"Entry")


def name(app: RunningApp) -> None:
    assert environ(app, "Plain")["SVCD_APP"] == app.name


def address(app: RunningApp) -> None:
    assert app.url.startswith("http://127.0.0.2:")


def max_body(app: RunningApp) -> None:
    assert app.post("who", b"x" * 1025)[0] == 413


def max_header(app: RunningApp) -> None:
    assert http(app, GET + b"x: " + b"x" * 4096).startswith(b"HTTP/1.1 431 ")


def max_connections(app: RunningApp) -> None:
    address = urlsplit(app.url)
    busy = []
    try:
        for _ in range(4):
            busy.append(socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE))
            busy[-1].sendall(b"POST /hang HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
        wait_until(lambda: app.row("Entry")["in_flight"] == 4, "the four requests to run")
        assert http(app, GET + b"\r\n").startswith(b"HTTP/1.1 503 ")
    finally:
        for connection in busy:
            connection.close()
    wait_until(lambda: app.row("Entry")["in_flight"] == 0, "the requests to be given up")
    wait_until(lambda: http(app, GET + CLOSE + b"\r\n").startswith(b"HTTP/1.1 200 "), "the connections to be free")


def header_timeout(app: RunningApp) -> None:
    assert http(app, GET).startswith(b"HTTP/1.1 408 ")


def body_timeout(app: RunningApp) -> None:
    assert http(app, b"POST /who HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n{").startswith(b"HTTP/1.1 408 ")


def idle_timeout(app: RunningApp) -> None:
    """The answer comes, and the connection is closed, long before the 75 s of the default."""
    assert http(app, GET + b"\r\n").startswith(b"HTTP/1.1 200 ")


def total_timeout(app: RunningApp) -> None:
    answer = http(app, b"POST /hang HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
    assert b" 200 " not in answer  # and the connection is closed, long before the minutes of the default


def cors(header: str, value: str) -> Callable[[RunningApp], None]:
    def observe(app: RunningApp) -> None:
        assert preflight(app)[f"access-control-{header}"].lower() == value.lower()

    return observe


def cors_expose(app: RunningApp) -> None:
    answer = http(app, GET + ORIGIN + CLOSE + b"\r\n")
    assert headers_of(answer)["access-control-expose-headers"].lower() == "x-told"


def interpreter(service: str, mark: str) -> Callable[[RunningApp], None]:
    def observe(app: RunningApp) -> None:
        assert f"-X\0observer={mark}\0" in proc(app, service, "cmdline")

    return observe


def gpus(service: str, count: int) -> Callable[[RunningApp], None]:
    def observe(app: RunningApp) -> None:
        assert len(environ(app, service)["CUDA_VISIBLE_DEVICES"].split(",")) == count

    return observe


def threads_of_a_share(service: str) -> Callable[[RunningApp], None]:
    def observe(app: RunningApp) -> None:
        assert environ(app, service)["OMP_NUM_THREADS"] == "1"
        assert "OMP_NUM_THREADS" not in environ(app, "Plain")

    return observe


def min_replicas(app: RunningApp) -> None:
    assert len([row for row in app.rows() if row["service"] == "Plain"]) == 2


def timeout(app: RunningApp) -> None:
    """A call from another service inherits that one's deadline; one of the command line has none of its own."""
    assert "no answer within 0.1 s" in app.svcd("call", "Timed.forever", code=5).stderr


def max_concurrency(app: RunningApp) -> None:
    assert max(call(app, "Entry.parallel", service="own", api="together", times=6)) == "2"


def max_queue(app: RunningApp) -> None:
    """Not at once: a burst may try a replica before it is known to be busy."""
    told = call(app, "Entry.parallel", service="narrow", api="slow", times=8, apart=0.02)
    assert set(told) == {"None", "Overloaded"}


def spin(app: RunningApp) -> None:
    assert call(app, "Plain.spin") == 0.000002


def arena(app: RunningApp) -> None:
    call(app, "Entry.parallel", service="plain", api="spin", times=4)  # so that its two replicas are connected
    links = list(Path(f"/proc/{pid_of(app, 'Plain')}/fd").iterdir())
    assert [link.stat().st_size for link in links if "svcd-arena" in str(link.readlink())] == [3 * 1024**2]


def threads(app: RunningApp) -> None:
    assert call(app, "Entry.parallel", service="process", api="meet", times=3) == ["met"] * 3


def start_timeout(app: RunningApp) -> None:
    wait_until(lambda: "not ready within its start limit of 0.5 s" in app.log("daemon"), "the replica to be given up")


def drain_timeout(app: RunningApp) -> None:
    """Of two calls the one on the replica that goes is cut, as it would not end in time."""
    command = [*SVCD, "call", *app.options, "Entry.parallel", '{"service": "draining", "api": "nap", "times": 2}']
    command = [word if word != "-f" else "--file" for word in command]
    with subprocess.Popen(command, env=app.env, cwd=app.base, stdout=subprocess.PIPE, text=True) as calls:
        wait_until(lambda: [app.row("Draining", index)["in_flight"] for index in (0, 1)] == [1, 1], "both calls to run")
        app.svcd("scale", "Draining=1")
        wait_until(lambda: [row["service"] for row in app.rows()].count("Draining") == 1, "a replica to go")
        (app.folder / "wake").touch()
        outcomes = json.loads(calls.communicate(timeout=PATIENCE)[0])
    assert sorted(outcome == "done" for outcome in outcomes) == [False, True], outcomes


def stop_timeout(app: RunningApp) -> None:
    app.svcd("scale", "Stopping=1")
    wait_until(lambda: [row["service"] for row in app.rows()].count("Stopping") == 1, "a replica to go")
    assert not (app.folder / "stopped in its own time").exists()


def version(app: RunningApp) -> None:
    assert app.row("Process")["version"] == "observed"


def cwd(app: RunningApp) -> None:
    assert Path(f"/proc/{pid_of(app, 'Process')}/cwd").readlink() == app.folder / "elsewhere"


def umask(app: RunningApp) -> None:
    assert "Umask:\t0027\n" in proc(app, "Process", "status")


def nice(app: RunningApp) -> None:
    assert os.getpriority(os.PRIO_PROCESS, pid_of(app, "Process")) == 5


def rlimit(limit: str) -> Callable[[RunningApp], None]:
    title, _, value = RLIMITS[limit]

    def observe(app: RunningApp) -> None:
        (line,) = (line for line in proc(app, "Process", "limits").splitlines() if line.startswith(title))
        assert line.removeprefix(title).split()[:2] == [str(value)] * 2

    return observe


def env_file(app: RunningApp) -> None:
    assert environ(app, "Process")["OBSERVED_TOO"] == "env_file"


def envs(app: RunningApp) -> None:
    assert environ(app, "Process")["OBSERVED"] == "envs"


MEMORY = "tests/integration/process/test_memory_limit.py::test_the_watch_ends_it_where_there_is_no_control_group"
USERS = "tests/integration/process/test_users.py::test_each_is_who_it_should_be"
PROBES = "tests/supervision/test_liveness.py::test"
SCALING = "tests/integration/test_autoscaling.py::test_replicas_follow_the_load_and_no_call_is_lost"
COMMANDS = "tests/integration/commands/test_command_services.py"
TASKS = "tests/integration/tasks/test_task_settings.py::test_each_setting_has_its_effect"
BACKEND = "tests/integration/test_async_backend.py::test_the_app_says_it_for_all_and_a_service_for_itself"

OBSERVERS: dict[str, Callable[[RunningApp], None] | str] = {
    "app.service": entry,
    "app.name": name,
    "app.http": address,
    "app.orphan_grace": "tests/chaos/test_adoption_ends.py::test_when_the_grace_runs_out_everything_ends",
    "app.max_body": max_body,
    "app.max_header": max_header,
    "app.max_connections": max_connections,
    "app.header_timeout": header_timeout,
    "app.body_timeout": body_timeout,
    "app.idle_timeout": idle_timeout,
    "app.total_timeout": total_timeout,
    "app.cors.origins": cors("allow-origin", "https://a.example"),
    "app.cors.methods": cors("allow-methods", "PATCH"),
    "app.cors.headers": cors("allow-headers", "X-Asked"),
    "app.cors.expose": cors_expose,
    "app.cors.credentials": cors("allow-credentials", "true"),
    "app.cors.max_age": cors("max-age", "1234"),
    "app.logs.size": "tests/integration/test_logs.py::test_logs_keep_what_they_are_told_to",
    "app.logs.age": "tests/integration/test_logs.py::test_logs_keep_what_they_are_told_to",
    "app.logs.burst": "tests/integration/test_logs.py::test_logs_keep_what_they_are_told_to",
    "app.start_parallelism": "tests/integration/test_start_parallelism.py::test_starts_take_turns",
    "app.python": interpreter("Plain", "app"),
    "app.async_backend": BACKEND,
    "app.ingress.replicas": "tests/integration/ingress/test_ingress_replicas.py::test_the_death_of_one_of_two",
    "app.spin": spin,
    **{f"app.tasks.{name}": TASKS for name in ("store", "max_queued", "max_size", "result_ttl", "concurrency")},
    "app.arena": arena,
    "app.colocate": "tests/integration/test_colocation.py::test_members_share_a_process_and_others_call_them_as_ever",
    "services.*.instance_type": gpus("Shaped", 1),
    "services.*.resources.gpu": gpus("Own", 2),
    "services.*.resources.gpu_type": "tests/integration/test_pinning.py::test_gpu_type_is_what_is_given",
    "services.*.resources.cpu": threads_of_a_share("Own"),
    "services.*.resources.memory": MEMORY,
    "services.*.scaling.min_replicas": min_replicas,
    "services.*.scaling.max_replicas": SCALING,
    "services.*.scaling.down_after": SCALING,
    "services.*.traffic.concurrency": SCALING,
    "services.*.traffic.timeout": timeout,
    "services.*.traffic.max_concurrency": max_concurrency,
    "services.*.traffic.max_queue": max_queue,
    "services.*.threads": threads,
    "services.*.async_backend": BACKEND,
    "services.*.start_timeout": start_timeout,
    "services.*.drain_timeout": drain_timeout,
    "services.*.stop_timeout": stop_timeout,
    **{f"services.*.liveness.{name}": f"{PROBES}_liveness_{name}" for name in ("period", "timeout", "threshold")},
    **{f"services.*.readiness.{name}": f"{PROBES}_readiness_{name}" for name in ("period", "timeout", "threshold")},
    "services.*.python": interpreter("Process", "service"),
    "services.*.cwd": cwd,
    "services.*.umask": umask,
    "services.*.nice": nice,
    **{f"services.*.rlimits.{limit}": rlimit(limit) for limit in RLIMITS},
    "services.*.user": USERS,
    "services.*.group": USERS,
    "services.*.version": version,
    "services.*.env_file": env_file,
    "services.*.envs.*": envs,
    "services.*.after": f"{COMMANDS}::test_a_oneshot_runs_again_until_it_is_done_and_then_no_more",
    "services.*.command": f"{COMMANDS}::test_the_url_is_that_of_the_program",
    "services.*.type": f"{COMMANDS}::test_a_oneshot_runs_again_until_it_is_done_and_then_no_more",
    **{
        f"services.*.readiness.{sign}": f"{COMMANDS}::test_each_is_ready_by_its_own_sign"
        for sign in ("http", "tcp", "exec", "notify", "fd")
    },
    **{f"services.*.liveness.{sign}": f"{COMMANDS}::test_one_that_hangs_is_replaced" for sign in ("http", "exec")},
    "services.*.port": f"{COMMANDS}::test_a_fixed_port_is_taken_as_it_is",
    "services.*.url": f"{COMMANDS}::test_several_replicas_take_turns_and_url_is_what_the_configuration_says",
    "services.*.restart": f"{COMMANDS}::test_the_end_of_each_is_what_its_exit_code_says",
    "services.*.stop_signal": f"{COMMANDS}::test_all_of_it_ends_in_order_and_by_its_own_signal",
    "instance_types.*.gpu": gpus("Shaped", 1),
    "instance_types.*.gpu_type": "tests/integration/test_pinning.py::test_gpu_type_is_what_is_given",
    "instance_types.*.cpu": threads_of_a_share("Shaped"),
    "instance_types.*.memory": MEMORY,
}

ROOT = Path(__file__).parents[2]
HERE = {key: observer for key, observer in OBSERVERS.items() if not isinstance(observer, str)}
ELSEWHERE = {key: place for key, place in OBSERVERS.items() if isinstance(place, str)}


def test_each_key_of_the_schema_has_an_observer() -> None:
    assert OBSERVERS.keys() == {key.path for key in schema.KEYS}


@pytest.mark.parametrize("key", ELSEWHERE)
def test_the_others_are_observed_where_the_table_says(key: str) -> None:
    file, _, test = ELSEWHERE[key].partition("::")
    text = (ROOT / file).read_text()
    assert re.search(rf"^(async )?def {test}\(", text, re.MULTILINE)
    assert key.rpartition(".")[2] in text


@pytest.fixture(scope="module")
def app(nvml_library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    box = Box(tmp_path_factory.mktemp("box") / "box", nvml_library, "[[gpu]]\n" * 8)
    with RunningApp(write(tmp_path_factory.mktemp("observed") / "app"), env=box.env) as app:
        yield app.up().all_up(but="Late")


@pytest.mark.parametrize("key", HERE)
def test_it_shows_in_the_running_app(key: str, app: RunningApp) -> None:
    HERE[key](app)
