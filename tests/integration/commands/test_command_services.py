"""Programs as services: each sign of being ready, their URLs, their ends, what comes after them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from command_app import changes, squat, write

from running import PATIENCE, SVCD, RunningApp, wait_until
from svcd.host.free_port import choose_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakeApp


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    """The app, ready; tests leave it so."""
    with squat() as squatter:
        fixed = choose_port("127.0.0.1", ())
        folder = write(tmp_path_factory.mktemp("commands") / "app", fixed=fixed, squatted=squatter.getsockname()[1])
        with RunningApp(folder) as app:
            app.up()
            wait_until(lambda: states(app, "ByTcp") == ["ready"] * 2, "both replicas of the one that has two")
            yield app


def url(app: RunningApp, name: str) -> str:
    status, told = app.post("url", {"name": name})
    assert status == 200, told
    return bytes(told).decode()


def ask(app: RunningApp, address: str, path: str = "/") -> dict[str, Any]:
    """Ask the program at a URL what it knows of itself."""
    parts = urlsplit(address)
    if parts.scheme == "unix":
        connection = http.client.HTTPConnection("localhost", timeout=PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(address.removeprefix("unix:"))
    else:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        told: dict[str, Any] = json.loads(connection.getresponse().read())
        return told
    finally:
        connection.close()


def states(app: RunningApp, service: str) -> list[str]:
    return [row["state"] for row in app.rows() if row["service"] == service]


@pytest.mark.parametrize("service", ["ByHttp", "ByTcp", "ByUnix", "ByExec", "ByNotify", "ByFd", "Fixed"])
def test_each_is_ready_by_its_own_sign(app: RunningApp, service: str) -> None:
    """By `readiness`: http, tcp, exec, notify or fd; tcp unless said where its `command` has its port or socket."""
    assert set(states(app, service)) == {"ready"}
    steps = [line.partition(" after")[0] for line in changes(app, f"{service}/0")]
    assert steps[0] in {"pending -> starting", "pending -> pending"}  # the latter is that of one that waits
    assert "starting -> ready" in steps


def test_what_a_program_says_of_its_start_is_told(app: RunningApp) -> None:
    """By STATUS= of sd_notify, when readiness.notify is what it is ready by."""
    assert any("(half way)" in line for line in changes(app, "ByNotify/0"))


def test_the_url_is_that_of_the_program(app: RunningApp) -> None:
    row = app.row("ByHttp")
    told = ask(app, url(app, "by_http"))
    assert told["pid"] == row["pid"]
    port = urlsplit(url(app, "by_http")).port
    assert told["argv"] == ["http", str(port)]
    path = url(app, "by_unix").removeprefix("unix:")
    assert ask(app, f"unix:{path}")["pid"] == app.row("ByUnix")["pid"]
    assert Path(path).parent == app.runtime / "s"


def test_several_replicas_take_turns_and_url_is_what_the_configuration_says(app: RunningApp) -> None:
    urls = wait_until(lambda: len(found := {url(app, "by_tcp") for _ in range(4)}) == 2 and found, "both URLs")
    assert {address.rpartition("/")[2] for address in urls} == {"0", "1"}
    pids = {ask(app, address)["pid"] for address in urls}
    assert pids == {row["pid"] for row in app.rows() if row["service"] == "ByTcp"}


def test_its_environment_is_its_own_with_the_port_and_the_socket(app: RunningApp) -> None:
    told = ask(app, url(app, "by_http"))["env"]
    assert told["OWN"] == "own"
    assert told["PORT"] == str(urlsplit(url(app, "by_http")).port)
    assert told["SOCKET"].startswith(str(app.runtime))
    assert "NOTIFY_SOCKET" not in told
    assert told["SVCD_REPLICA"].startswith("ByHttp/0#")
    shown = dict(json.loads(app.svcd("env", "ByHttp", "--json").stdout))
    assert {name: told[name] for name in shown} == shown
    there = Path(f"/proc/{app.row('ByNotify')['pid']}/environ").read_text()
    assert f"NOTIFY_SOCKET={app.runtime}/s/" in there
    assert ask(app, url(app, "by_tcp"))["env"].get("OWN") is None


def test_a_fixed_port_is_taken_as_it_is(app: RunningApp) -> None:
    (port,) = re.findall(r"\nport = (\d+)\nreadiness.tcp = true", (app.folder / "svcd.toml").read_text())[:1]
    assert ask(app, f"http://127.0.0.1:{port}")["pid"] == app.row("Fixed")["pid"]


def test_what_it_prints_is_in_its_log(app: RunningApp) -> None:
    wait_until(lambda: "sleeping" in app.svcd("logs", "ByFd").stdout, "the line that follows its word that it is ready")


def test_a_oneshot_runs_again_until_it_is_done_and_then_no_more(app: RunningApp) -> None:
    row = app.row("Migrate")
    assert (row["state"], row["reason"]) == ("done", "exited with status 0")
    assert changes(app, "Migrate/0")[1].startswith("starting -> backoff")
    runs = (app.folder / "migrated").read_text()
    assert runs.startswith("ran\nran\n")
    done = app.log("daemon").index("Migrate/0: starting -> done")
    assert done < app.log("daemon").index("ByHttp/0: pending -> starting")
    for service in ("Front", "ByHttp"):
        before = app.row(service)["restarts"]
        os.kill(app.row(service)["pid"], signal.SIGKILL)
        wait_until(lambda: (app.row(service)["restarts"], states(app, service)) == (before + 1, ["ready"]), service)  # noqa: B023 - it is awaited at once
    assert (app.folder / "migrated").read_text() == runs
    assert app.svcd("call", "Front.url", '{"name": "migrate"}', code=1).stderr.startswith(
        "svcd: ServiceUnavailable: Migrate has no URL"
    )


def test_status_and_restart_know_them(app: RunningApp) -> None:
    told = app.svcd("status", "ByHttp").stdout
    assert f"  at        {url(app, 'by_http')}\n" in told
    assert "  after     Migrate (done)\n" in told
    assert app.svcd("status", "Migrate").stdout.startswith("Migrate is done\n")
    runs = len((app.folder / "migrated").read_text().splitlines())
    assert app.svcd("restart", "Migrate").stdout == "restarted Migrate/0\n"
    assert len((app.folder / "migrated").read_text().splitlines()) == runs + 1


def test_one_that_is_killed_comes_back_where_it_was(app: RunningApp) -> None:
    before = url(app, "by_http")
    row = app.row("ByHttp")
    os.kill(row["pid"], signal.SIGKILL)
    wait_until(lambda: app.row("ByHttp")["restarts"] == row["restarts"] + 1, "the replica to be started again")
    wait_until(lambda: states(app, "ByHttp") == ["ready"], "the replica to be ready")
    wait_until(lambda: app.post("url", {"name": "by_http"})[0] == 200, "its URL to be there again")
    assert url(app, "by_http") == before
    assert ask(app, before)["pid"] == app.row("ByHttp")["pid"] != row["pid"]
    assert app.row("ByHttp")["last_exit"] == "killed by SIGKILL"


def test_one_that_is_not_ready_any_more_is_named_to_nobody_until_it_is_again(app: RunningApp) -> None:
    """By readiness.period and readiness.threshold; and with a status that is a 503 for those who need it."""
    (app.folder / "healthy").unlink()
    wait_until(lambda: states(app, "ByHttp") == ["unready"], "readiness to be lost")
    assert app.row("ByHttp")["reason"] == "GET /health was answered 503"
    status, told = wait_until(lambda: (said := app.post("url", {"name": "by_http"}))[0] != 200 and said, "a refusal")
    reason = "ByHttp is starting: ByHttp/0: GET /health was answered 503"
    assert (status, told["error"]["message"]) == (503, reason)
    (app.folder / "healthy").touch()
    wait_until(lambda: states(app, "ByHttp") == ["ready"], "readiness to come back")
    wait_until(lambda: app.post("url", {"name": "by_http"})[0] == 200, "its URL to be there again")


def test_one_that_hangs_is_replaced(app: RunningApp) -> None:
    """By liveness.http, with a process that is stopped; by liveness.exec, with a command that says so."""
    stopped = app.row("Hangs")["pid"]
    os.kill(stopped, signal.SIGSTOP)
    (app.folder / "sick").touch()
    wait_until(lambda: app.row("ByFd")["restarts"], "the one that says so to be replaced")
    (app.folder / "sick").unlink()
    assert app.row("ByFd")["last_exit"] == "not alive: test exited with status 1"
    wait_until(lambda: app.row("Hangs")["pid"] != stopped, "the one that is stopped to be replaced")
    assert app.row("Hangs")["last_exit"] == "not alive: GET / took longer than 1 s"
    for service in ("ByFd", "Hangs"):
        wait_until(lambda: states(app, service) == ["ready"], f"{service} to be back")  # noqa: B023 - as above


@pytest.mark.parametrize(
    ("service", "state", "reason"),
    [
        ("Quits", "done", "exited with status 0"),
        ("Dies", "failed", "5 failures in a row; last: exited with status 0"),
        ("Never", "failed", "exited with status 3, and it is never started again"),
        ("Slow", "failed", "not done within its start limit of 0.2 s, and it is never started again"),
        (
            "Late",
            "failed",
            "not ready within its start limit of 4 s: GET /missing was answered 503, and it is never started again",
        ),
    ],
)
def test_the_end_of_each_is_what_its_exit_code_says(app: RunningApp, service: str, state: str, reason: str) -> None:
    """By `restart`, `type` and `start_timeout`."""
    wait_until(lambda: app.row(service)["state"] == state, f"{service} to be {state}")
    assert app.row(service)["reason"] == reason
    assert (app.row(service)["restarts"], app.row(service)["pid"]) == ({"Quits": 1, "Dies": 4}.get(service, 0), None)


def test_a_port_that_somebody_else_has_makes_nobody_ready(app: RunningApp) -> None:
    wait_until(lambda: app.row("Squatted")["state"] == "failed", "the start to be given up")
    told = re.search(r"its port \d+ is in use by (\S+) \(pid (\d+)\)", app.row("Squatted")["reason"])
    assert told, app.row("Squatted")["reason"]
    assert int(told[2]) == os.getpid()
    status, answer = app.post("url", {"name": "squatted"})
    assert (status, answer["error"]["message"].partition(":")[0]) == (503, "Squatted is failed")


def test_a_program_whose_port_is_taken_is_not_started_and_says_by_whom(make_app: MakeApp) -> None:
    """Without a sign of its own to be ready by, it would count as ready."""
    with squat() as squatter:
        port = squatter.getsockname()[1]
        toml = f"""
            [services.Late]
            command = ["sh", "-c", "echo started; sleep 3600"]
            port = {port}
            readiness.exec = ["true"]
        """
        service = """
            import svcd

            @svcd.service
            class Front:
                late = svcd.depends("Late", optional=True)

                @svcd.api
                async def ping(self) -> int:
                    return 1
        """
        app = make_app(service, toml, entry="Front").up()
        wait_until(lambda: app.row("Late")["state"] == "failed", "the start to be given up")
        assert f"cannot be started: its port {port} is in use by " in app.row("Late")["reason"]
        assert f"(pid {os.getpid()})" in app.row("Late")["reason"]
        assert app.log("Late.0") == ""
    app.svcd("restart", "Late")
    wait_until(lambda: "started" in app.log("Late.0"), "it to run once the port is free")
    app.svcd("down")


def test_fewer_replicas_are_withdrawn_then_stopped_and_a_fixed_port_has_one(app: RunningApp) -> None:
    """Those that have its URL may use it for the drain_timeout."""
    app.svcd("scale", "ByTcp=1")
    wait_until(lambda: len(states(app, "ByTcp")) == 1, "a replica to go")
    wait_until(lambda: len({url(app, "by_tcp") for _ in range(3)}) == 1, "its URL to be told to nobody any more")
    app.svcd("scale", "ByTcp=2")
    wait_until(lambda: states(app, "ByTcp") == ["ready"] * 2, "a replica to come")
    wait_until(lambda: len({url(app, "by_tcp") for _ in range(4)}) == 2, "its URL to be told")
    told = app.svcd("scale", "Fixed=2", code=1).stderr
    assert "Fixed has the port" in told
    assert "Migrate is a oneshot, which runs once" in app.svcd("scale", "Migrate=2", code=1).stderr


def test_a_call_of_a_program_is_refused_with_its_url(app: RunningApp) -> None:
    told = app.svcd("call", "ByHttp.anything", code=4).stderr
    assert "ByHttp is a command service, and has no apis" in told


def test_check_and_config_know_them(app: RunningApp) -> None:
    assert "  ByHttp: 1 replica; a program, after Migrate" in app.svcd("check").stdout
    assert "  Migrate: 1 replica; a oneshot" in app.svcd("check").stdout
    shown = app.svcd("config", "services.ByHttp").stdout
    assert 'readiness.http = "/health"' in shown
    assert "traffic" not in shown


def test_its_environment_before_it_runs_says_what_is_chosen_later(tmp_path: Path) -> None:
    folder = write(tmp_path / "app", fixed=4711, squatted=1)
    environ = {**os.environ, "SVCD_RUNTIME_DIR": str(tmp_path / "r")}
    for service, told in (("ByNotify", "# NOTIFY_SOCKET=(chosen when it starts)"), ("Fixed", "PORT=4711")):
        command = [*SVCD, "env", service, "-f", str(folder / "svcd.toml")]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
        assert told in done.stdout.splitlines()


def test_all_of_it_ends_in_order_and_by_its_own_signal(tmp_path: Path) -> None:
    """By `after` and `stop_signal`; a oneshot that fails for good ends the start."""
    folder = write(tmp_path / "app", fixed=choose_port("127.0.0.1", ()), squatted=1)
    program = '["{python}", "program.py", "touch", '
    (folder / "svcd.toml").write_text(
        '[app]\nservice = "service:Front"\nhttp = "127.0.0.1:0"\n'
        f'[services.Low]\ncommand = {program}"low"]\nstop_signal = "SIGINT"\nreadiness.exec = ["test", "-e", "low"]\n'
        f'[services.High]\ncommand = {program}"high"]\nafter = ["Low"]\nreadiness.exec = ["test", "-e", "high"]\n'
        "[services.Front]\nafter = ['High']\n"
    )
    (folder / "service.py").write_text("import svcd\n@svcd.service\nclass Front:\n    pass\n")
    with RunningApp(folder) as app:
        app.up()
        assert app.svcd("down").stdout == "stopped\n"
        log = app.log("daemon")
        started = [log.index(f"{name}/0: starting -> ready") for name in ("Low", "High", "Front")]
        ended = [log.index(f"{name}/0: draining -> stopped") for name in ("Front", "High", "Low")]
        assert [*started, *ended] == sorted([*started, *ended])
    assert (folder / "low-ended").read_text() == "SIGINT"
    assert (folder / "high-ended").read_text() == "SIGTERM"
    with (folder / "svcd.toml").open("a") as toml:
        toml.write('[services.Broken]\ntype = "oneshot"\ncommand = ["false"]\nrestart = "never"\n')
    command = [*SVCD, "up", "-f", str(folder / "svcd.toml")]
    environ = {**os.environ, "SVCD_RUNTIME_DIR": str(tmp_path / "r"), "SVCD_LOG_DIR": str(tmp_path / "l")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "it cannot become ready: Broken/0: exited with status 1, and it is never started again" in done.stderr


def test_another_daemon_takes_over_programs_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "app", fixed=choose_port("127.0.0.1", ()), squatted=1)
    program = '["{python}", "program.py", '
    (folder / "service.py").write_text(
        "import svcd\n@svcd.service\nclass Front:\n    web = svcd.depends('Web')\n"
        "    @svcd.api\n    async def url(self, name: str) -> str:\n        return getattr(self, name)\n"
    )
    (folder / "svcd.toml").write_text(
        '[app]\nservice = "service:Front"\nhttp = "127.0.0.1:0"\norphan_grace = "30s"\n'
        f'[services.Make]\ntype = "oneshot"\ncommand = {program}"note", "made", "0"]\n'
        f'[services.Web]\ncommand = {program}"http", "{{port}}"]\nreadiness.http = "/"\nafter = ["Make"]\n'
        f'[services.Told]\ncommand = {program}"notify", "x"]\nreadiness.notify = true\n'
    )
    with RunningApp(folder) as app:
        app.up()
        before = {row["service"]: (row["state"], row["pid"]) for row in app.rows()}
        address = url(app, "web")
        assert app.daemon is not None
        app.processes()  # from now on they are known by pid
        app.daemon.kill()
        app.daemon.wait(PATIENCE)
        app.up()
        assert {row["service"]: (row["state"], row["pid"]) for row in app.rows()} == before
        assert url(app, "web") == address
        assert ask(app, address)["pid"] == before["Web"][1]
        os.kill(before["Web"][1], signal.SIGKILL)
        wait_until(lambda: states(app, "Web") == ["ready"] and app.row("Web")["restarts"] == 1, "it to be back")
        assert ask(app, address)["pid"] == app.row("Web")["pid"]
        assert (folder / "made").read_text() == "ran\n"
        assert app.svcd("down").stdout == "stopped\n"
