"""Forty kinds of leak are tried into a live replica under a real `svcd up` that was started in a polluted place."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from probe import SERVICE, call, limits, start

from running import PATIENCE, RunningApp, write_app
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

POLLUTER = Path(__file__).with_name("polluter.py")
HOST = {
    "STRAY": "x",
    "SVCD__SERVICES__PROBE__THREADS": "2",
    "NOTIFY_SOCKET": "/nowhere/notify",
    "LISTEN_FDS": "1",
    "LISTEN_PID": "1",
    "LISTEN_FDNAMES": "x",
    "CREDENTIALS_DIRECTORY": "/nowhere/credentials",
    "INVOCATION_ID": "x",
    "JOURNAL_STREAM": "1:2",
    "WATCHDOG_USEC": "1000000000",
    "MAINPID": "1",
    "PYTHONPATH": os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH"), "/nowhere/python"))),
    "PYTHONSTARTUP": "/nowhere/startup.py",
    "PYTHONDONTWRITEBYTECODE": "1",
    "LD_LIBRARY_PATH": "/nowhere/lib",
    "LD_BIND_NOW": "1",
    "LD_LIBRARY_PATH_ORIG": "/nowhere/orig",
    "_MEIPASS2": "/nowhere/mei",
    "_PYI_ARCHIVE_FILE": "/nowhere/archive",
    "VIRTUAL_ENV": "/nowhere/venv",
    "CONDA_PREFIX": "/nowhere/conda",
    "CUDA_VISIBLE_DEVICES": "0,1,2,3",
    "CUDA_DEVICE_ORDER": "FASTEST_FIRST",
    "NVIDIA_VISIBLE_DEVICES": "all",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "SSH_AUTH_SOCK": "/nowhere/agent",
    "DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere/bus",
    "DISPLAY": ":0",
    "OLDPWD": "/nowhere",
    "SHLVL": "7",
    "BASH_FUNC_f%%": "() { :; }",
    "LANGUAGE": "xx",
    "OMP_NUM_THREADS": "64",
    "MALLOC_ARENA_MAX": "1",
    "TMOUT": "1",
    # These three are allowed.
    "LC_ALL": "C.UTF-8",
    "TZ": "Europe/Berlin",
    "HF_HOME": "/models",
}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningApp]:
    folder = write_app(tmp_path_factory.mktemp("app"), SERVICE, entry="Probe")
    (folder / "planted").write_text("hunter2")
    with RunningApp(folder, env=HOST) as app:
        start(app, sys.executable, "-E", POLLUTER, folder / "planted")
        yield app


@pytest.fixture(scope="module")
def seen(app: RunningApp) -> dict[str, Any]:
    found: dict[str, Any] = call(app, "look")
    return found | {"app": app}


ALLOWED = {
    *("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME", "LC_ALL"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("CUDA_VISIBLE_DEVICES", "SVCD_APP", "SVCD_SERVICE", "SVCD_REPLICA"),
}


def lacks(*names: str) -> Callable[[dict[str, Any]], bool]:
    return lambda seen: not set(names) & seen["environ"].keys()


def mask(seen: dict[str, Any], field: str) -> set[int]:
    """The signals of a mask in /proc/PID/status, without those that libc keeps for its threads (signal(7): 32 and 33).

    No program can set those two through libc, so what the outside left in them is there to stay.
    """
    bits = int(seen["at_start"]["status"][field], 16)
    return {number for number in signal.valid_signals() if bits >> number - 1 & 1}


def daemon_limits(seen: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return limits(Path(f"/proc/{seen['app'].daemon.pid}/limits").read_text())


OWN_LIMITS = {"Max open files", "Max realtime timeout"}
"""Those that svcd raises for itself, and marks its processes with (svcd.host.descent)."""
YEAR = 365 * 24 * 3600 * 10**6
"""Microseconds."""

LEAKS: dict[str, Callable[[dict[str, Any]], bool]] = {
    "a variable of the shell": lacks("STRAY", "TMOUT", "MALLOC_ARENA_MAX"),
    "svcd's own settings": lacks("SVCD_RUNTIME_DIR", "SVCD_LOG_DIR", "SVCD__SERVICES__PROBE__THREADS"),
    "a neighbour's variable": lacks("NEIGHBOUR"),
    "a neighbour's secret": lacks("NEIGHBOURS_KEY"),
    "systemd's notification socket": lacks("NOTIFY_SOCKET", "WATCHDOG_USEC", "MAINPID"),
    "systemd's sockets": lacks("LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"),
    "systemd's credentials": lacks("CREDENTIALS_DIRECTORY"),
    "systemd's invocation": lacks("INVOCATION_ID", "JOURNAL_STREAM"),
    "the shell's Python": lacks("PYTHONPATH", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE"),
    "the shell's virtual environment": lacks("VIRTUAL_ENV", "CONDA_PREFIX"),
    "the loader's path": lacks("LD_LIBRARY_PATH", "LD_BIND_NOW"),
    "a frozen program's variables": lacks("LD_LIBRARY_PATH_ORIG", "_MEIPASS2", "_PYI_ARCHIVE_FILE"),
    "the shell's GPUs": lambda seen: seen["environ"]["CUDA_VISIBLE_DEVICES"] == "",
    "other words on GPUs": lacks("CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"),
    "a credential of the shell": lacks("AWS_SECRET_ACCESS_KEY", "SSH_AUTH_SOCK"),
    "the desktop's sockets": lacks("DBUS_SESSION_BUS_ADDRESS", "DISPLAY"),
    "the shell's state": lacks("OLDPWD", "SHLVL", "BASH_FUNC_f%%", "PWD", "_"),
    "the shell's threads": lacks("OMP_NUM_THREADS"),
    "the shell's language": lacks("LANGUAGE"),
    "any variable that is not on the list": lambda seen: seen["environ"].keys() <= ALLOWED,
    "less than the list": lambda seen: all(seen["environ"].get(k) == HOST[k] for k in ("LC_ALL", "TZ", "HF_HOME")),
    "the daemon's import path": lambda seen: "/nowhere/python" not in seen["path"],
    "a folder of svcd's": lambda seen: not any("svcd/worker" in entry for entry in seen["path"]),
    "a secret on the command line": lambda seen: "nonce" not in seen["cmdline"] and "secret" not in seen["cmdline"],
    "a descriptor": lambda seen: seen["at_start"]["fds"].keys() == {"0", "1", "2"},
    "the planted file": lambda seen: not any("planted" in name for name in seen["at_start"]["fds"].values()),
    "output elsewhere than in the log": lambda seen: seen["at_start"]["fds"]["1"].startswith("pipe:"),
    "the daemon's standard input": lambda seen: (seen["stdin"], seen["stdin_is"]) == ("", "/dev/null"),
    "the working directory": lambda seen: seen["cwd"] == str(seen["app"].folder),
    "the umask": lambda seen: seen["at_start"]["umask"] == 0o022,
    "blocked signals": lambda seen: mask(seen, "SigBlk") == set(),
    # Python itself ignores these two.
    "ignored signals": lambda seen: mask(seen, "SigIgn") == {signal.SIGPIPE, signal.SIGXFSZ},
    "pending signals": lambda seen: mask(seen, "SigPnd") | mask(seen, "ShdPnd") == set(),
    "the raised limit of descriptors": lambda seen: limits(seen["limits"])["Max open files"][0] == "512",
    "another limit": lambda seen: (
        {name: limit for name, limit in limits(seen["limits"]).items() if name not in OWN_LIMITS}
        == {name: limit for name, limit in daemon_limits(seen).items() if name not in OWN_LIMITS}
    ),
    "a limit that could be met": lambda seen: (
        min(map(int, limits(seen["limits"])["Max realtime timeout"])) > 70_000 * YEAR
    ),
    "the terminal": lambda seen: seen["tty"] == 0,
    "the session": lambda seen: seen["session"] == seen["app"].guard_and_keeper()[0] != os.getsid(0),
    "the process group": lambda seen: seen["group"] == seen["pid"],
    "the signal of the parent's death": lambda seen: seen["at_start"]["pdeathsig"] == signal.SIGKILL,
    "the OOM killer's instructions": lambda seen: seen["oom_score_adj"] == 0 or os.geteuid() != 0,
    "the priority": lambda seen: seen["nice"] == 0 or os.geteuid() != 0,
    "the scheduling class": lambda seen: seen["scheduler"] == os.SCHED_OTHER,
    "other CPUs than there are": lambda seen: seen["cpus"] == sorted(os.sched_getaffinity(0)),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_nothing_leaks(seen: dict[str, Any], leak: str) -> None:
    assert LEAKS[leak](seen), json.dumps({name: value for name, value in seen.items() if name != "app"}, indent=1)


def test_thirty_kinds_are_tried() -> None:
    assert len(LEAKS) >= 30


def test_the_place_was_polluted(app: RunningApp) -> None:
    """Else the test above would pass without a reason."""
    assert app.daemon is not None
    pid = app.daemon.pid
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + 5, 19)  # see polluter.py
    assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "500\n"
    assert int(status["SigBlk"], 16) >> (signal.SIGUSR2 - 1) & 1
    assert int(status["SigIgn"], 16) >> (signal.SIGUSR1 - 1) & 1
    assert status["Umask"].strip() == "0000"
    assert Path(f"/proc/{pid}/fd/200").readlink().name == "planted"
    assert b"STRAY=x" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def test_descriptors_are_raised_for_the_daemon(app: RunningApp) -> None:
    assert app.daemon is not None
    soft, hard = limits(Path(f"/proc/{app.daemon.pid}/limits").read_text())["Max open files"]
    assert soft == hard != "512"


@pytest.mark.parametrize("service", ["Probe", "Neighbour", "ingress"])
def test_what_a_process_reports_is_what_the_kernel_has(app: RunningApp, service: str) -> None:
    """Over its control channel, and as `svcd env` says."""
    said = json.loads(app.svcd("env", service, "--json", "--show-secrets").stdout)
    with BlockingClient(app.runtime / "control.sock", {"role": "cli"}) as daemon:
        args = {"service": service, "replica": 0, "secrets": True, "reported": True}
        answer = daemon.call("environment", args, timeout=PATIENCE)
    reported = {os.fsdecode(name): os.fsdecode(value) for name, value in answer["variables"]}
    kernel = Path(f"/proc/{app.row(service)['pid']}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert reported == said == dict(os.fsdecode(item).split("=", 1) for item in kernel)
    assert len(kernel) == len(reported)
