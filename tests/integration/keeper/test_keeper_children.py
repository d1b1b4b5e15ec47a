"""What the keeper does with children that behave, and with those that do not."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from kept_app import state_of, until

from leftovers import living, snapshot
from svcd.host.processes import children, read_stat
from svcd.values.orders import Exited, Gone, Kill, Shutdown, Signal, Spawned, SpawnFailed

if TYPE_CHECKING:
    from kept_app import KeptApp


INTERNAL = 0b11 << 31
"""glibc's own signals 32 and 33: its posix_spawn, which make uses, leaves them ignored, and no program can undo it."""


def signals_of(pid: int, field: str) -> int:
    """A signal mask out of /proc/PID/status."""
    mask = int(Path(f"/proc/{pid}/status").read_text().partition(f"{field}:")[2].split()[0], 16)
    return mask & ~INTERNAL


async def test_a_child_reads_its_stdin_and_ends(app: KeptApp) -> None:
    await app.spawned("Echo/0#1", ["cat"], stdin=b"one\ntwo\n")
    exited = await app.ended("Echo/0#1")
    assert exited.code == 0
    assert exited.last_lines == ["one", "two"]
    assert app.lines("Echo/0#1") == ["one", "two"]


async def test_stdin_larger_than_a_pipe(app: KeptApp) -> None:
    await app.spawned("Big/0#1", ["wc", "-c"], stdin=b"x" * 3_000_000)
    assert (await app.ended("Big/0#1")).last_lines == ["3000000"]


async def test_a_child_has_its_own_group_in_the_keepers_session_and_nothing_else_of_it(app: KeptApp) -> None:
    pid = await app.spawned("Show/0#1", ["sh", "-c", "ls /proc/self/fd; env; kill -STOP $$"])
    await until(lambda: state_of(pid) == "T")
    stat = read_stat(pid)
    assert stat is not None
    assert (stat.session, stat.group, stat.parent) == (os.getsid(app.keeper), pid, app.keeper)
    assert signals_of(pid, "SigIgn") == 0
    assert signals_of(pid, "SigBlk") == 0
    app.send(Kill("Show/0#1"))
    exited = await app.ended("Show/0#1")
    assert exited.code == -signal.SIGKILL
    # 3 is the folder that ls lists; there is nothing above.
    assert [line for line in exited.last_lines if line.isdigit()] == ["0", "1", "2", "3"]
    names = {line.partition("=")[0] for line in exited.last_lines if "=" in line} - {"PWD", "SHLVL", "_", "OLDPWD"}
    assert names == {"PATH", "SVCD_REPLICA", "SVCD_TEST_MARK"}


async def test_exit_codes_are_statuses_or_negated_signals(app: KeptApp) -> None:
    await app.spawned("Seven/0#1", ["sh", "-c", "echo last words >&2; exit 7"])
    exited = await app.ended("Seven/0#1")
    assert (exited.code, exited.last_lines) == (7, ["last words"])
    await app.spawned("Term/0#1", ["sleep", "1000"])
    app.send(Signal("Term/0#1", signal.SIGTERM))
    assert (await app.ended("Term/0#1")).code == -signal.SIGTERM


async def test_signals_to_what_is_not_there_are_ignored(app: KeptApp) -> None:
    app.send(Signal("Nobody/0#1", signal.SIGTERM))
    app.send(Kill("Nobody/0#1"))
    await app.spawned("True/0#1", ["true"])
    await app.ended("True/0#1")
    app.send(Signal("True/0#1", signal.SIGTERM))
    app.send(Kill("True/0#1"))
    await app.spawned("True/0#2", ["true"])
    await app.ended("True/0#2")


async def test_an_id_can_be_used_once_at_a_time(app: KeptApp) -> None:
    await app.spawned("Twice/0#1", ["sleep", "1000"])
    app.spawn("Twice/0#1", ["sleep", "1000"])
    assert "not gone yet" in (await app.expect(SpawnFailed)).message
    app.send(Kill("Twice/0#1"))
    await app.ended("Twice/0#1")
    await app.spawned("Twice/0#1", ["true"])
    await app.ended("Twice/0#1")


@pytest.mark.parametrize(
    ("argv", "cwd", "message"),
    [
        (["/nowhere/python", "-m", "x"], "/", "cannot execute /nowhere/python: No such file or directory"),
        (["no-such-program"], "/", "cannot execute no-such-program: not found on the PATH of its environment"),
        (["true"], "/nowhere", "cannot enter the directory /nowhere: No such file or directory"),
        (["true"], "/etc/passwd", "cannot enter the directory /etc/passwd: Not a directory"),
        (["/etc/passwd"], "/", "cannot execute /etc/passwd: Permission denied"),
        (["/etc"], "/", "cannot execute /etc: Permission denied"),
        ([], "/", "cannot prepare a process: Invalid argument"),
        (["a\0b"], "/", "cannot execute a\0b: Invalid argument"),
    ],
)
async def test_what_cannot_be_spawned(app: KeptApp, argv: list[str], cwd: str, message: str) -> None:
    app.spawn("Bad/0#1", argv, cwd=cwd)
    failed = await app.expect(SpawnFailed)
    assert failed.message == message
    assert failed.errno > 0
    await until(lambda: not children(app.keeper))
    await app.spawned("Bad/0#1", ["true"])  # the id is free again
    await app.ended("Bad/0#1")


async def test_an_interpreter_that_is_missing_is_told_from_a_script_that_is(app: KeptApp) -> None:
    script = app.folder / "script"
    script.write_text("#!/nowhere/interpreter\n")
    script.chmod(0o755)
    app.spawn("Script/0#1", ["./script"])
    message = (await app.expect(SpawnFailed)).message
    assert message == "cannot execute ./script: the file is there, but the interpreter or loader it names is not"


async def test_an_environment_that_is_too_large(app: KeptApp) -> None:
    app.spawn("Large/0#1", ["true"], env={"LARGE": "x" * 3_000_000})
    assert (await app.expect(SpawnFailed)).message == "cannot execute true: Argument list too long"


async def test_a_child_that_ignores_sigterm_is_killed(app: KeptApp) -> None:
    note = app.spawn_from_zoo("Deaf/0#1", "ignores_term")
    await app.expect(Spawned)
    await until(note.exists)
    app.send(Signal("Deaf/0#1", signal.SIGTERM))
    app.send(Kill("Deaf/0#1"))
    assert (await app.ended("Deaf/0#1")).code == -signal.SIGKILL


@pytest.mark.parametrize("animal", ["daemonizes_and_stays", "scrubs_and_stays"])
async def test_a_daemonized_grandchild_goes_with_its_replica(app: KeptApp, animal: str) -> None:
    """It left the session, and is the keeper's child now; with `scrubs` nothing of its environment is left either."""
    note = app.spawn_from_zoo("Parent/0#1", animal)
    await app.expect(Spawned)
    grandchild = int(await until(lambda: note.exists() and note.read_text()))
    await until(lambda: grandchild in children(app.keeper))
    app.remember()
    known = snapshot(grandchild)
    app.send(Kill("Parent/0#1"))
    await app.ended("Parent/0#1")
    assert not living(known)


@pytest.mark.parametrize("animal", ["daemonizes_and_leaves", "leaves_a_scrubbed_child"])
async def test_exited_does_not_wait_for_grandchildren_and_gone_does(app: KeptApp, animal: str) -> None:
    note = app.spawn_from_zoo("Parent/0#1", animal)
    await app.expect(Spawned)
    exited = await app.expect(Exited)
    assert exited.id == "Parent/0#1"
    assert await app.expect(Gone) == Gone("Parent/0#1")
    assert state_of(int(note.read_text())) == ""


async def test_a_grandchild_that_holds_the_pipe_does_not_hold_up_the_exit(app: KeptApp) -> None:
    app.spawn_from_zoo("Holder/0#1", "child_holds_the_pipe")
    await app.expect(Spawned)
    assert (await app.ended("Holder/0#1")).last_lines == ["last words"]


@pytest.mark.parametrize("animal", ["daemonizes_and_stays", "scrubs_and_stays"])
async def test_strays_of_one_replica_outlive_the_end_of_another(app: KeptApp, animal: str) -> None:
    note = app.spawn_from_zoo("Keeps/0#1", animal)
    await app.expect(Spawned)
    grandchild = int(await until(lambda: note.exists() and note.read_text()))
    await until(lambda: grandchild in children(app.keeper))
    known = snapshot(grandchild)
    await app.spawned("Other/0#1", ["true"])
    await app.ended("Other/0#1")
    assert living(known) == {grandchild}


async def test_a_child_that_closes_its_descriptors(app: KeptApp) -> None:
    note = app.spawn_from_zoo("Closed/0#1", "closes_all")
    await app.expect(Spawned)
    await until(note.exists)
    app.send(Signal("Closed/0#1", signal.SIGTERM))
    assert (await app.ended("Closed/0#1")).code == -signal.SIGTERM


async def test_a_stopped_child_is_killed(app: KeptApp) -> None:
    app.spawn_from_zoo("Stopped/0#1", "stops_itself")
    pid = (await app.expect(Spawned)).pid
    await until(lambda: state_of(pid) == "T")
    app.send(Signal("Stopped/0#1", signal.SIGTERM))  # stays pending
    app.send(Kill("Stopped/0#1"))
    assert (await app.ended("Stopped/0#1")).code == -signal.SIGKILL


async def test_a_hundred_children_go_with_their_parent(app: KeptApp) -> None:
    note = app.spawn_from_zoo("Many/0#1", "forks_many")
    pid = (await app.expect(Spawned)).pid
    await until(note.exists)
    assert len(children(pid)) == 100
    app.remember()
    os.kill(pid, signal.SIGKILL)
    await app.ended("Many/0#1")
    assert not living(app.known - snapshot(app.driver.pid))


async def test_who_leaves_the_process_group_goes_too(app: KeptApp) -> None:
    note = app.spawn_from_zoo("Group/0#1", "changes_its_group")
    pid = (await app.expect(Spawned)).pid
    child = int(await until(lambda: note.exists() and note.read_text()))
    stat = read_stat(child)
    assert stat is not None
    assert stat.group == child != pid
    app.send(Signal("Group/0#1", signal.SIGTERM))  # the child is deaf to it, and killed with what is left
    assert (await app.ended("Group/0#1")).code == -signal.SIGTERM
    assert state_of(child) == ""


async def test_a_process_that_runs_away_by_forking_is_caught(app: KeptApp) -> None:
    note = app.spawn_from_zoo("Hopper/0#1", "hops")
    await app.expect(Spawned)
    await until(note.exists)
    app.send(Kill("Hopper/0#1"))
    await app.ended("Hopper/0#1")
    assert not children(app.keeper)


async def test_kill_between_fork_and_exec(app: KeptApp) -> None:
    for number in range(20):
        name = f"Quick/0#{number}"
        app.spawn(name, ["sleep", "1000"])
        app.send(Kill(name))
        event = await app.expect(Spawned)
        assert event.id == name
        assert (await app.ended(name)).code == -signal.SIGKILL


async def test_a_signal_between_fork_and_exec_is_not_lost(app: KeptApp) -> None:
    for number in range(20):
        name = f"Quick/0#{number}"
        app.spawn(name, ["sleep", "1000"])
        app.send(Signal(name, signal.SIGTERM))
        await app.expect(Spawned)
        assert (await app.ended(name)).code == -signal.SIGTERM


async def test_many_at_once(app: KeptApp) -> None:
    for number in range(50):
        app.spawn(f"Many/{number}#1", ["sh", "-c", f"echo {number}"])
    last: dict[str, list[str]] = {}
    gone: set[str] = set()
    while len(gone) < 50:
        match await app.event():
            case Exited(id=name, last_lines=lines):
                last[name] = lines
            case Gone(id=name):
                gone.add(name)
    assert last == {f"Many/{number}#1": [str(number)] for number in range(50)}


async def test_shutdown_ends_all_and_exits_with_zero(app: KeptApp) -> None:
    pids = [await app.spawned(f"Sleep/{number}#1", ["sleep", "1000"]) for number in range(3)]
    app.send(Shutdown())
    seen = [event async for event in app.link.events]
    assert sorted(type(event).__name__ for event in seen) == ["Exited"] * 3 + ["Gone"] * 3
    assert await app.driver_ended() == 0
    assert not any(map(state_of, pids))


async def test_the_keeper_imports_nothing_heavy(app: KeptApp) -> None:
    probe = "import sys; before = set(sys.modules); import svcd.keeper; print(*sorted(sys.modules))"
    done = await trio.run_process([sys.executable, "-P", "-c", probe], capture_stdout=True)
    modules = {name.partition(".")[0] for name in done.stdout.decode().split()}
    assert not modules & {"trio", "click", "psutil", "pydantic", "tomli", "pynvml", "hypercorn", "numpy", "subprocess"}
    assert not modules & {"asyncio", "pathlib", "logging", "json", "threading"}


async def test_a_terminals_interrupt_is_not_the_keepers_business(app: KeptApp) -> None:
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        for pid in (app.guard, app.keeper):
            os.kill(pid, signum)
    await app.spawned("Alive/0#1", ["true"])
    await app.ended("Alive/0#1")
