"""The packed program, dist/svcd: an app under it, and what its children can see of it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from leftovers import assert_none_left, marked, new_mark
from running import wait_until, write_app
from svcd import __version__
from svcd.host.processes import children, descendants, read_stat
from systemd.booted import Systemd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BINARY = Path(__file__).parent.parent.parent / "dist" / "svcd"
pytestmark = [
    pytest.mark.binary,
    pytest.mark.skipif(not BINARY.exists(), reason="there is no dist/svcd: make binary first"),
]

APP = """
    import os, sys, svcd

    @svcd.service(resources={"gpu": 1})
    class Model:
        @svcd.api
        async def environment(self) -> dict[str, str]:
            return dict(os.environ)

        @svcd.api
        async def modules(self) -> dict[str, str | None]:
            return {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}

    @svcd.service
    class Front:
        model = svcd.depends(Model)

        @svcd.api
        async def whoami(self) -> str:
            return sys.executable + " " + (await self.model.environment())["CUDA_VISIBLE_DEVICES"]
"""


class Packed:
    """The program with an app of its own."""

    def __init__(self, folder: Path, temporary: Path, env: dict[str, str]) -> None:
        self.folder = folder
        self.temporary = temporary
        """Where the program unpacks itself."""
        self.mark = new_mark()
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SVCD", "NOTIFY_"))}
        directories = {"SVCD_RUNTIME_DIR": str(temporary / "run"), "SVCD_LOG_DIR": str(temporary / "log")}
        self.env = {**inherited, **env, **self.mark, **directories, "TMPDIR": str(temporary)}

    def __call__(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a command in the app's folder; check its exit code."""
        done = subprocess.run(
            [BINARY, *words], env=self.env, cwd=self.folder, capture_output=True, text=True, timeout=90, check=False
        )
        assert done.returncode == code, (done.args, done.returncode, done.stdout, done.stderr)
        return done

    def call(self, target: str) -> str:
        return self("call", target).stdout

    def unpacked(self) -> list[Path]:
        """The folders in which it lies unpacked now."""
        return list(self.temporary.glob("_MEI*"))


@pytest.fixture
def packed(tmp_path: Path, fake_box: Callable[[str], dict[str, str]]) -> Iterator[Packed]:
    """The program and an app on a box with one GPU; the services run under this test's Python."""
    toml = f'python = "{sys.executable}"\n'
    folder = write_app(tmp_path / "app", APP, toml, entry="Front")
    temporary = Path("/tmp") / f"svcd-{os.getpid()}"  # a socket's path has 108 bytes
    temporary.mkdir()
    packed = Packed(folder, temporary, fake_box("[[gpu]]\n"))
    try:
        yield packed
        assert_none_left(packed.mark, within=10)
        wait_until(lambda: not packed.unpacked(), "the program to remove what it unpacked")
    finally:
        for pid in marked(packed.mark):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(temporary)


def test_it_tells_its_version(packed: Packed) -> None:
    assert packed("--version").stdout == f"svcd, version {__version__}\n"


def test_a_detached_app_from_start_to_end(packed: Packed) -> None:
    up = packed("up", "-d", "--wait", "--timeout", "60")
    assert "ready after" in up.stderr
    try:
        uuid = json.loads(packed("gpus", "--json").stdout)["gpus"][0]["uuid"]
        assert packed.call("Front.whoami").strip() == f"{sys.executable} {uuid}"
        rows = json.loads(packed("ps", "--json").stdout)
        assert {row["service"]: row["state"] for row in rows} == dict.fromkeys(("ingress", "Front", "Model"), "ready")
    finally:
        assert packed("down").stdout == "stopped\n"


def test_children_see_nothing_of_the_packed_program(packed: Packed) -> None:
    packed.env["LD_LIBRARY_PATH"] += ":/of/the/user"
    packed("up", "-d", "--wait")
    try:
        seen = json.loads(packed.call("Model.environment"))
        (unpacked,) = packed.unpacked()
        assert not {name for name in seen if name.startswith(("_PYI", "_MEI", "LD_", "PYTHON", "PYINSTALLER"))}
        assert not {name for name, value in seen.items() if str(unpacked) in value}
        # All they use of it are the sources of our two packages.
        files = json.loads(packed.call("Model.modules"))
        theirs = {name for name, file in files.items() if file and file.startswith(str(unpacked))}
        assert {name.partition(".")[0] for name in theirs - {"__main__"}} == {"svcd", "svcd_ipc"}
        assert all(str(files[name]).endswith(".py") for name in theirs)
        assert files["trio"] is not None
        assert Path(files["trio"]).is_relative_to(sys.prefix)
    finally:
        packed("down")


def test_a_library_path_that_a_service_asks_for_is_the_users(packed: Packed) -> None:
    packed.env["LD_LIBRARY_PATH"] += ":/of/the/user"
    with (packed.folder / "svcd.toml").open("a") as toml:
        toml.write("\n[services.Model]\nenvs = { LD_LIBRARY_PATH = { from_host = true } }\n")
    packed("up", "-d", "--wait")
    try:
        assert json.loads(packed.call("Model.environment"))["LD_LIBRARY_PATH"] == packed.env["LD_LIBRARY_PATH"]
    finally:
        packed("down")


def test_the_unpacked_folder_is_safe_from_tmpfiles(packed: Packed) -> None:
    """systemd-tmpfiles leaves alone what is locked."""
    packed("up", "-d", "--wait")
    try:
        (unpacked,) = packed.unpacked()
        assert subprocess.run(["flock", "--nonblock", "--exclusive", unpacked, "true"], check=False).returncode == 1
    finally:
        packed("down")


def foreground(packed: Packed) -> tuple[subprocess.Popen[bytes], int]:
    """The program with a terminal of its own, ready; its process and the terminal's other end."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BINARY, "up"],
        env=packed.env,
        cwd=packed.folder,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=lambda: os.login_tty(theirs),  # noqa: PLW1509 - it makes no threads
    )
    os.close(theirs)
    text = b""
    while b"ready after" not in text:
        text += os.read(ours, 4096)
    return process, ours


def test_one_ctrl_c_is_one(packed: Packed) -> None:
    """A terminal signals the loader and the program, and the loader hands on what it gets: it stops in order still."""
    process, terminal = foreground(packed)
    os.write(terminal, b"\x03")
    assert process.wait(60) == 0
    os.close(terminal)
    log = (packed.temporary / "log" / "daemon.log").read_text()
    assert log.count("stopping: SIGINT") == 1
    assert "killing everything" not in log
    assert log.index("Front/0: draining -> stopped") < log.index("Model/0: draining -> stopped")


@pytest.mark.parametrize("victim", ["loader", "daemon"])
def test_a_killed_one_takes_all_along(packed: Packed, victim: str) -> None:
    process, terminal = foreground(packed)
    (daemon,) = children(process.pid)
    known = {(stat.pid, stat.start) for pid in descendants(process.pid) if (stat := read_stat(pid))}
    os.kill(process.pid if victim == "loader" else daemon, signal.SIGKILL)
    process.wait(30)
    assert_none_left(packed.mark, known, within=5)
    os.close(terminal)
    for folder in packed.unpacked() if victim == "loader" else ():
        shutil.rmtree(folder)  # whoever would have removed it was killed


def test_no_python_for_services_is_said_so(packed: Packed) -> None:
    text = (packed.folder / "svcd.toml").read_text()
    (packed.folder / "svcd.toml").write_text(text.replace(f'python = "{sys.executable}"\n', ""))
    packed.env["PATH"] = str(packed.temporary)
    assert (
        "no python3 on PATH to run services with; install one, or name one: [app] python = "
        in packed("check", code=1).stderr
    )


def test_the_unit_names_the_program_itself(packed: Packed) -> None:
    unit = packed("unit", "print").stdout
    assert f"ExecStart={BINARY} up -f {packed.folder}/svcd.toml\n" in unit
    assert "NotifyAccess=all\n" in unit


PING = """
    import svcd

    @svcd.service
    class Ping:
        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""


@pytest.mark.systemd
@pytest.mark.root
def test_it_is_a_service_of_systemd(tmp_path: Path) -> None:
    """The loader is the main process; the daemon, its child, says READY and STATUS, and hears of SIGTERM."""
    folder = write_app(tmp_path / "app", PING, f'python = "{sys.executable}"\n', entry="Ping")
    env = {key: value for key, value in os.environ.items() if not key.startswith("SVCD")}
    words = [BINARY, "unit", "print"]
    unit = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=True).stdout
    with Systemd(tmp_path) as systemd:
        note = f"/bin/sh -c 'echo $SERVICE_RESULT $EXIT_CODE $EXIT_STATUS >{tmp_path}/ended'"
        systemd.install("x.service", unit, ExecStopPost=note)
        systemd.run("systemctl", "start", "x")
        assert systemd.show("x")["StatusText"].startswith("ready at http://127.0.0.1:")
        systemd.run("systemctl", "stop", "x")
        assert (tmp_path / "ended").read_text() == "success exited 0\n"
        assert systemd.processes() == set()
        assert "_MEI" not in systemd.run("ls", "/tmp").stdout
