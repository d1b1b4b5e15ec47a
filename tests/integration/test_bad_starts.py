"""Starts that go wrong in odd ways still say why: what user code raised, and where it hangs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

SERVICE = """
    import asyncio

    import svcd
    import trio

    @svcd.service
    class Interrupted:
        def __init__(self) -> None:
            print("about to")
            raise KeyboardInterrupt("by itself")

    @svcd.service
    class Hung:
        @svcd.on_startup
        async def begin(self) -> None:
            await self.wait_for_ever()

        async def wait_for_ever(self) -> None:
            await trio.sleep_forever()

    @svcd.service(async_backend="asyncio")
    class HungToo:
        @svcd.on_startup
        async def begin(self) -> None:
            await self.wait_long()

        async def wait_long(self) -> None:
            await asyncio.sleep(1000)

    @svcd.service
    class Cramped:
        pass

    @svcd.service
    class Entry:
        interrupted = svcd.depends(Interrupted, optional=True)
        hung = svcd.depends(Hung, optional=True)
        hung_too = svcd.depends(HungToo, optional=True)
        cramped = svcd.depends(Cramped, optional=True)

        @svcd.api
        async def ping(self) -> int:
            return 1
"""
TOML = """
    [services.Hung]
    start_timeout = "2500ms"
    [services.HungToo]
    start_timeout = "2500ms"
    [services.Cramped]
    rlimits.as = "24Mi"
"""


def tasks_in(log: str) -> str:
    """What was printed from its first task on."""
    return log.partition("svcd: a task:")[2]


def test_bad_starts_say_why(make_app: MakeApp) -> None:
    app = make_app(SERVICE, TOML, entry="Entry").up()
    wait_until(lambda: app.row("Interrupted")["state"] == "failed", "it to be given up")
    text = app.svcd("status", "Interrupted").stdout
    assert "ended after" in text
    assert "init failed: KeyboardInterrupt: by itself" in text
    assert "      | about to\n" in text
    assert 'service.py", line 11, in __init__' in app.log("Interrupted.0")
    assert "/svcd/" not in app.log("Interrupted.0")

    wait_until(lambda: "in wait_for_ever" in app.log("Hung.0"), "the stacks of the one that hangs")
    wait_until(lambda: "in wait_long" in app.log("HungToo.0"), "the stacks of the one that hangs in asyncio")
    last = "await trio.sleep_forever()"
    tasks = wait_until(lambda: last in (found := tasks_in(app.log("Hung.0"))) and found, "the rest of them")
    assert "/svcd_ipc/" not in tasks.partition("Thread 0x")[0]

    wait_until(lambda: app.row("Cramped")["state"] == "failed", "the one with too little memory to be given up")
    assert "MemoryError" in app.svcd("status", "Cramped").stdout
    assert "SIGKILL" not in app.row("Cramped")["reason"]
    assert "(attempt 1 of 5)" in app.stderr
    assert app.post("ping") == (200, 1)


def test_check_looks_for_programs_that_are_named_by_their_path(make_app: MakeApp) -> None:
    toml = """
        [services.Absent]
        command = ["/nowhere/vllm", "serve"]
        [services.Plain]
        command = ["./svcd.toml"]
        [services.Folder]
        command = ["/tmp"]
        [services.Good]
        command = ["/bin/sh", "-c", "true"]
        [services.Made]
        command = ["/nowhere/made", "{port}"]
        after = ["Fetch"]
        [services.Fetch]
        command = ["sh", "-c", "true"]
        type = "oneshot"
    """
    app = make_app(SERVICE, toml, entry="Entry")
    refused = app.svcd("check", code=1).stderr.splitlines()
    file = app.folder / "svcd.toml"
    assert [line for line in refused if "command" in line] == [
        f"svcd: {file}:6:11: services.Absent.command: /nowhere/vllm: no such file",
        '    6 | command = ["/nowhere/vllm", "serve"]',
        f"{file}:8:11: services.Plain.command: {file}: not executable; `chmod +x` makes it so",
        '    8 | command = ["./svcd.toml"]',
        f"{file}:10:11: services.Folder.command: /tmp: not a file",
        '   10 | command = ["/tmp"]',
    ]


def test_check_says_what_this_machine_cannot_give(make_app: MakeApp) -> None:
    toml = """
        [services.Entry]
        cwd = "nowhere"
        resources.cpu = 100000
        resources.memory = "1000Ti"
        user = "nobody-of-that-name"
    """
    app = make_app(SERVICE, toml, entry="Entry")
    refused = app.svcd("check", code=1).stderr
    place = f"{app.folder}/svcd.toml"
    assert f"svcd: {place}:6:7: services.Entry.cwd: {app.folder}/nowhere: no such folder\n" in refused
    assert f"{place}:7:17: services.Entry.resources.cpu: needs 100000 CPUs; this machine has " in refused
    assert f"{place}:8:20: services.Entry.resources.memory: needs 1000Ti" in refused
    assert f"{place}:9:8: services.Entry.user: no user nobody-of-that-name on this machine" in refused
    assert '\n    9 | user = "nobody-of-that-name"\n' in refused
