"""Replicas as processes: how they start, fail, serve, stop and die."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio
from worker_rig import HERE, IDLE, LIMIT, Rig, until, until_health

from svcd_ipc.errors import (
    Busy,
    CallError,
    DeadlineExceeded,
    InvalidArgument,
    RemoteError,
    ReplicaLost,
    ServiceUnavailable,
    UnknownApi,
)

if TYPE_CHECKING:
    from pathlib import Path

NEVER_IN_A_REPLICA = {"click", "psutil", "tomli", "pynvml", "hypercorn", "starlette"}


async def test_replica_serves_both_colours_and_says_its_load(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Echo"))
    assert await channel.call("echo", {"value": {"a": [1, b"x"]}}) == {"a": [1, b"x"]}
    assert await channel.call("plainly", {"value": 3}) == 3
    assert channel.peer_load == (0, 0)
    assert str(channel.peer) == "Echo/0"


async def test_replica_holds_nothing_that_a_worker_does_not_need(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Echo"))
    modules = {name.partition(".")[0] for name in await channel.call("modules", {})}
    assert modules & NEVER_IN_A_REPLICA == set()
    assert "svcd" in modules


async def test_replica_answers_http_bodies_and_tells_its_schema(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Echo"))
    request = {"api": "plainly", "body": b'{"value": 4}', "type": "application/json", "accept": "*/*"}
    assert await channel.call("svcd.http", request) == ["application/json", b"4"]
    stream = channel.stream("svcd.http", request | {"api": "chunks", "body": b'{"n": 2}'})
    assert [item async for item in stream] == ["application/x-ndjson", b'{"n":0}\n', b'{"n":1}\n']
    described = (await channel.call("svcd.schema", {}))["apis"]
    assert described["plainly"]["input"]["properties"]["value"]["type"] == "integer"
    assert described["echo"]["doc"] == "Give back what came."
    with pytest.raises(InvalidArgument, match="value: Input should be a valid integer"):
        await channel.call("svcd.http", request | {"body": b'{"value": "x"}'})
    with pytest.raises(UnknownApi, match="no api 'plain'; did you mean 'plainly'"):
        await channel.call("svcd.http", request | {"api": "plain"})


async def test_an_api_cannot_end_the_replica(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Echo"))
    with pytest.raises(RemoteError, match="SystemExit: 7"):
        await channel.call("quit", {})
    assert await channel.call("echo", {"value": 1}) == 1


async def test_printed_lines_are_in_the_log_at_once(box: Rig) -> None:
    process = await box.up("worker_services:Echo")
    channel = await box.connect(process)
    await channel.call("print_line", {"text": "hello log"})
    assert "hello log" in process.log.read_text()


IMPORT_ERROR = "import svcd\n\ndef boom():\n    raise RuntimeError('no weights')\n\nboom()\n"
SERVICE = "import svcd\n\n@svcd.service\nclass Bad:\n    {}\n"
FAILURES = {
    "import": (IMPORT_ERROR, "import", "RuntimeError: no weights", "in boom"),
    "syntax": ("def (:\n", "import", "SyntaxError", "bad.py"),
    "missing module": ("import nowhere_to_be_found\n", "import", "No module named 'nowhere_to_be_found'", "bad.py"),
    "no class": ("import svcd\n", "import", "there is no class 'Bad'", ""),
    "no service": ("class Bad: pass\n", "import", "is no service", ""),
    "init": (SERVICE.format("def __init__(self): raise ValueError('cold')"), "init", "ValueError: cold", "in __init__"),
    "exit": (SERVICE.format("def __init__(self): raise SystemExit('done')"), "init", "SystemExit: done", "bad.py"),
    "startup": (
        SERVICE.format("@svcd.on_startup\n    async def warm(self): raise ValueError('cold')"),
        "startup",
        "ValueError: cold",
        "in warm",
    ),
    "annotation": (
        SERVICE.format("@svcd.api\n    def run(self, x: 'Nowhere'): ..."),
        "import",
        "name 'Nowhere' is not defined",
        "",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_a_failure_before_ready_is_told_with_the_users_traceback(name: str, box: Rig, tmp_path: Path) -> None:
    source, phase, error, frame = FAILURES[name]
    (tmp_path / "bad.py").write_text(source)
    process = box.spawn("bad:Bad", root=tmp_path)
    assert await process.wait() == 1
    assert process.failure is not None, process.log.read_text()
    assert process.failure["phase"] == phase
    assert error in process.failure["error"]
    assert frame in process.failure["traceback"]
    assert "/svcd/" not in process.failure["traceback"]
    assert "importlib" not in process.failure["traceback"]
    log = process.log.read_text()
    assert error in log
    assert frame in log
    assert not process.ready.is_set()


async def test_the_loop_answers_while_init_runs_and_sigterm_ends_it(box: Rig, tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import svcd, time\n@svcd.service\nclass Slow:\n    def __init__(self):\n        while True: time.sleep(1)\n"
    )
    process = box.spawn("slow:Slow", root=tmp_path)
    with trio.fail_after(LIMIT):
        await process.joined.wait()
        health = await process.control.call("health", {})
    assert health == IDLE
    process.signal(signal.SIGTERM)
    assert await process.wait() == 0


async def test_sigterm_runs_the_shutdown_hooks_and_sigint_does_nothing(box: Rig, notes: Path) -> None:
    process = await box.up("worker_services:Echo")
    channel = await box.connect(process)
    process.signal(signal.SIGINT)
    assert await channel.call("echo", {"value": 1}) == 1
    process.signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert (notes / "shutdown").exists()


async def test_a_replica_ends_with_its_daemon(box: Rig) -> None:
    process = await box.up("worker_services:Echo")
    box.link.cancel()
    assert await process.wait() == 1


async def test_a_wrong_daemon_is_said_so(box: Rig, tmp_path: Path) -> None:
    box.link.cancel()
    process = box.spawn("worker_services:Echo")
    assert await process.wait() == 1
    assert "the daemon does not let this replica in" in process.log.read_text()


@pytest.mark.parametrize("api", ["hang", "hang_plainly"])
async def test_cancellation_reaches_three_hops_down(api: str, box: Rig, notes: Path) -> None:
    channel = await box.connect(await box.up("worker_services:First"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.call, api, {})
        await until(lambda: any(note.name.startswith("running") for note in notes.iterdir()))
        nursery.cancel_scope.cancel()
    await until((notes / "last-cancelled").exists)
    await until((notes / "middle-cancelled").exists)
    for process in box.processes:
        await until_health(process, IDLE)


async def test_the_third_hop_sees_the_rest_of_the_deadline_across_a_blocking_one(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:First"))
    with trio.fail_after(20):
        left = await channel.call("remaining", {})
    assert len(left) == 3
    assert left == sorted(left, reverse=True)
    assert 0 < left[-1] < left[0] < 20


async def test_a_lost_callee_is_a_typed_error_at_once(box: Rig, notes: Path) -> None:
    channel = await box.connect(await box.up("worker_services:First"))
    last = box.one("Last")
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def lose() -> None:
            with pytest.raises(ReplicaLost, match=r"Last\.hang: Last/0 was lost while the call may have been running"):
                await channel.call("lose", {})

        await until(lambda: any(note.name.startswith("running") for note in notes.iterdir()))
        last.signal(signal.SIGKILL)
    await last.wait()
    box.states["Last"] = ("failed", "it crashed 5 times")
    await box.push()
    with pytest.raises(ServiceUnavailable, match=r"Last\.hang: Last is failed: it crashed 5 times"):
        await channel.call("lose", {})


async def test_an_idempotent_call_goes_to_another_replica(box: Rig, notes: Path) -> None:
    channel = await box.connect(await box.up("worker_services:First"))
    first = box.one("Last")
    async with trio.open_nursery() as nursery:
        answers: list[int] = []

        @nursery.start_soon
        async def ask() -> None:
            with pytest.raises(DeadlineExceeded):
                answers.append(await channel.call("retry", {"slow": True}, deadline=trio.current_time() + 1e9))
            raise AssertionError

        await until((notes / f"who-{first.popen.pid}").exists)
        second = box.spawn("worker_services:Last")
        with trio.fail_after(LIMIT):
            await second.ready.wait()
        first.signal(signal.SIGKILL)
        await until((notes / f"who-{second.popen.pid}").exists)
        nursery.cancel_scope.cancel()
    assert await channel.call("retry", {"slow": False}) == second.popen.pid


async def test_a_call_waits_for_a_service_that_starts(box: Rig) -> None:
    process = await box.up("worker_services:First")
    channel = await box.connect(process)
    last = box.one("Last")
    last.signal(signal.SIGKILL)
    await last.wait()
    await box.push()
    async with trio.open_nursery() as nursery:
        answers: list[int] = []

        @nursery.start_soon
        async def ask() -> None:
            answers.append(await channel.call("retry", {"slow": False}))

        again = box.spawn("worker_services:Last")
    assert answers == [again.popen.pid]


async def test_beyond_max_concurrency_a_replica_is_busy(box: Rig, notes: Path) -> None:
    channel = await box.connect(await box.up("worker_services:Last", Last={"max_concurrency": 1}))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.call, "hang", {})
        await until(lambda: list(notes.iterdir()))
        with pytest.raises(Busy) as caught:
            await channel.call("who", {})
        assert caught.value.load == (1, 0)
        nursery.cancel_scope.cancel()


async def test_an_abandoned_def_api_keeps_its_slot_and_is_reported(box: Rig, notes: Path) -> None:
    process = await box.up("worker_services:Last", Last={"max_concurrency": 1})
    channel = await box.connect(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.call, "block", {})
        await until((notes / "blocked").exists)
        nursery.cancel_scope.cancel()
    await until_health(process, {"in_flight": 1, "queued": 0, "threads_stuck": 1})
    with pytest.raises(Busy):
        await channel.call("who", {})


async def test_drain_refuses_new_calls_and_waits_for_those_in_flight(box: Rig, notes: Path) -> None:
    process = await box.up("worker_services:Last")
    channel = await box.connect(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.call, "block", {})
        await until((notes / "blocked").exists)
        drained = trio.Event()

        @nursery.start_soon
        async def drain() -> None:
            await process.control.call("drain", {})
            drained.set()

        await until(lambda: channel.draining)
        with pytest.raises(Busy):
            await channel.call("who", {})
        assert not drained.is_set()
        nursery.cancel_scope.cancel()


async def test_garbage_on_the_data_socket_harms_nobody_else(box: Rig) -> None:
    process = await box.up("worker_services:Echo")
    channel = await box.connect(process)
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100, b"\x05\x00"):
        stream = await trio.open_unix_socket(process.boot.services[0].socket)
        async with stream:
            await stream.send_all(garbage)
            with trio.move_on_after(0.2):
                while await stream.receive_some():
                    pass
    assert await channel.call("echo", {"value": 1}) == 1


def _packages(folder: Path, names: tuple[str, ...]) -> Path:
    """Make a folder with some of this interpreter's packages, as another virtual environment would have them."""
    from importlib.metadata import distribution

    folder.mkdir()
    for name in names:
        found = distribution(name)
        for top in {path.parts[0] for path in found.files or () if not path.parts[0].startswith("..")}:
            if not (folder / top).exists():
                (folder / top).symlink_to(found.locate_file(top))
    return folder


WORKER_NEEDS = (
    *("trio", "attrs", "sortedcontainers", "idna", "outcome", "sniffio", "msgpack"),
    *("pydantic", "pydantic_core", "typing_extensions", "annotated_types", "typing_inspection"),
)


async def test_an_environment_without_svcd_is_enough(box: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = _packages(tmp_path / "packages", WORKER_NEEDS)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    process = box.spawn("worker_services:Echo", python=(sys.executable, "-S"))
    with trio.fail_after(LIMIT):
        await process.ready.wait()
    channel = await box.connect(process)
    told = await channel.call("environment", {})
    assert told["path"][:2] == [str(HERE), str(packages)]
    assert not any(folder.endswith(("supervisor", "ipc", "site-packages", "worker")) for folder in told["path"][1:])
    assert told["svcd"].endswith("supervisor/svcd/__init__.py")
    assert told["ipc"].endswith("ipc/svcd_ipc/__init__.py")
    assert told["stdin"].startswith(os.devnull)


async def test_an_unfit_interpreter_says_what_to_install(box: Rig) -> None:
    process = box.spawn("worker_services:Echo", python=(sys.executable, "-S", "-I"))
    assert await process.wait() == 1
    log = process.log.read_text()
    assert "lacks trio, msgpack, pydantic>=2.9" in log
    assert f"run: {sys.executable} -m pip install trio msgpack 'pydantic>=2" in log


async def test_errors_are_call_errors(box: Rig) -> None:
    channel = await box.connect(await box.up("worker_services:Echo"))
    with pytest.raises(CallError, match="Echo has no api 'ech'; did you mean 'echo'"):
        await channel.call("ech", {})
