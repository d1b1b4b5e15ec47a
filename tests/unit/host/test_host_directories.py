"""The runtime and log directories: where they are, who may hold them, and what is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from svcd.host.sockets import AlreadyRunningError, RuntimeDirectory, RuntimeDirectoryError, daemon_pid
from svcd.values.places import Places, places


@pytest.mark.parametrize(
    ("environ", "uid", "runtime", "logs", "state"),
    [
        ({}, 0, "/run/svcd/app", "/var/log/svcd/app", "/var/lib/svcd/app"),
        ({"HOME": "/home/a"}, 1000, "/tmp/svcd-1000/app", *["/home/a/.local/state/svcd/app"] * 2),
        (
            {"HOME": "/home/a", "XDG_RUNTIME_DIR": "/run/user/1000", "XDG_STATE_HOME": "/state"},
            1000,
            "/run/user/1000/svcd/app",
            *["/state/svcd/app"] * 2,
        ),
        ({"SVCD_RUNTIME_DIR": "/r/x/", "SVCD_LOG_DIR": "/l/../m", "SVCD_STATE_DIR": "/s/"}, 0, "/r/x", "/m", "/s"),
    ],
)
def test_where_they_are(environ: dict[str, str], uid: int, runtime: str, logs: str, state: str) -> None:
    assert places("app", environ, uid) == Places(runtime, logs, state)


def test_the_files_in_them() -> None:
    here = Places("/r", "/l")
    assert here.log("Classifier", 0) == "/l/Classifier.0.log"
    assert here.log("ingress") == "/l/ingress.log"
    assert here.data_socket(7) == "/r/s/7.sock"
    assert Places("/r", "/l", "/s").tasks == "/s/tasks.sqlite3"


@pytest.fixture
def here(tmp_path: Path) -> Places:
    return Places(str(tmp_path / "parent" / "run"), str(tmp_path / "logs"))


def test_made_private_and_left_clean(here: Places) -> None:
    with RuntimeDirectory(here) as directory:
        runtime = Path(here.runtime)
        assert runtime.stat().st_mode & 0o777 == 0o700
        assert Path(here.pid_file).read_text() == f"{os.getpid()}\n"
        assert daemon_pid(here) == os.getpid()
        assert Path(here.data_sockets).is_dir()
        for path in (here.control, here.link, here.data_socket(0)):
            Path(path).touch()
        assert "not held" not in repr(directory)
    assert not runtime.exists()
    assert Path(here.logs).is_dir()
    assert daemon_pid(here) is None
    assert "not held" in repr(directory)


def test_what_is_not_ours_stays(here: Places) -> None:
    with RuntimeDirectory(here):
        (Path(here.runtime) / "notes").touch()
    assert [entry.name for entry in Path(here.runtime).iterdir()] == ["notes"]


def test_who_only_looks_for_a_daemon_keeps_none_from_starting(here: Places) -> None:
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            daemon_pid(here)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(300):
            with RuntimeDirectory(here):
                pass
    finally:
        is_over.set()
        looker.join()


HOLD = """
import sys
from svcd.host.sockets import RuntimeDirectory
from svcd.values.places import Places
RuntimeDirectory(Places(*sys.argv[1:])).__enter__()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_daemon_is_refused_and_a_killed_one_is_cleaned_up_after(here: Places) -> None:
    argv = [sys.executable, "-c", HOLD, here.runtime, here.logs]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        assert daemon_pid(here) == first.pid
        with (
            pytest.raises(AlreadyRunningError, match=rf"running already \(pid {first.pid}, ") as caught,
            RuntimeDirectory(here),
        ):
            pass
        assert caught.value.pid == first.pid
        assert Path(here.pid_file).exists()  # the refused one took nothing away
        Path(here.control).touch()
        Path(here.data_socket(3)).touch()
        first.kill()
        first.wait()
    assert daemon_pid(here) is None
    with RuntimeDirectory(here):
        assert not Path(here.control).exists()
        assert not Path(here.data_socket(3)).exists()


def test_a_sweep_waits_for_a_daemon_that_is_being_killed(here: Places) -> None:
    argv = [sys.executable, "-c", HOLD, here.runtime, here.logs]
    for _ in range(5):
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as daemon:
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == "held\n"
            RuntimeDirectory(here).sweep(lambda: None)
            assert Path(here.lock).exists(), "it is left to who holds it"
            daemon.kill()
            RuntimeDirectory(here).sweep(lambda: None)
            assert not Path(here.runtime).exists()


def test_many_daemons_race_and_one_wins(here: Places) -> None:
    argv = [sys.executable, "-c", HOLD, here.runtime, here.logs]
    racers = [
        subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    outcomes = []
    for racer in racers:
        assert racer.stdout is not None
        outcomes.append(racer.stdout.readline())
    for racer in racers:
        _, errors = racer.communicate()
        assert racer.returncode == 0 or "AlreadyRunningError" in errors
    assert sorted(outcomes) == [""] * 5 + ["held\n"]


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    here = Places(str(tmp_path / ("x" * 100)), str(tmp_path))
    with (
        pytest.raises(RuntimeDirectoryError, match=r"at most 107; set SVCD_RUNTIME_DIR to a shorter"),
        RuntimeDirectory(here),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_refused(tmp_path: Path, here: Places) -> None:
    (tmp_path / "parent").mkdir()
    (tmp_path / "elsewhere").mkdir()
    Path(here.runtime).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RuntimeDirectoryError, match="is a link"), RuntimeDirectory(here):
        pass


def test_a_file_in_the_way(tmp_path: Path, here: Places) -> None:
    (tmp_path / "parent").write_text("")
    with (
        pytest.raises(
            RuntimeDirectoryError, match=r"cannot make the directory .*Not a directory; set SVCD_RUNTIME_DIR"
        ),
        RuntimeDirectory(here),
    ):
        pass
    (tmp_path / "logs").rmdir()
    (tmp_path / "logs").write_text("")
    with pytest.raises(RuntimeDirectoryError, match=r"File exists; set SVCD_LOG_DIR"), RuntimeDirectory(here):
        pass


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("which", ["parent", "parent/run"])
def test_a_directory_that_another_user_prepared_is_refused(tmp_path: Path, here: Places, which: str) -> None:
    Path(here.runtime).mkdir(parents=True)
    os.chown(tmp_path / which, 12345, 12345)
    with pytest.raises(RuntimeDirectoryError, match=r"belongs to another user \(id 12345\)"), RuntimeDirectory(here):
        pass


def test_a_mode_that_is_too_open_is_closed(here: Places) -> None:
    Path(here.runtime).mkdir(parents=True)
    Path(here.runtime).chmod(0o755)
    with RuntimeDirectory(here):
        assert Path(here.runtime).stat().st_mode & 0o777 == 0o700
