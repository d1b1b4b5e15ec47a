"""Stop the daemon, change the code, start the new daemon: what changed is replaced, and no request is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from running import PATIENCE
from svcd.measure.http import HttpLoad

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

WORDS = """
import svcd

@svcd.service
class Words:
    @svcd.api
    async def say(self, x: int) -> str:
        return f"old {x}"
"""
ENTRY = """
    import svcd
    from words import Words

    @svcd.service
    class Entry:
        words = svcd.depends(Words)

        @svcd.api
        async def work(self, x: int) -> str:
            return await self.words.say(x=x)
"""
TOML = """
    orphan_grace = "60s"
    [services.Words]
    scaling = { min_replicas = 2, max_replicas = 2 }
"""
RATE = 60.0


def pids(app: RunningApp) -> dict[str, int]:
    return {f"{row['service']}/{row['replica']}": row["pid"] for row in app.rows()}


def replaced(app: RunningApp, before: dict[str, int]) -> set[str]:
    after = pids(app)
    return {name for name, pid in before.items() if after[name] != pid}


def change(app: RunningApp, name: str, old: str, new: str) -> None:
    """Stop the daemon alone, and change a source file."""
    app.svcd("down", "--keep")
    assert app.daemon is not None
    assert app.daemon.wait(PATIENCE) == 75
    path = app.folder / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_what_changed_is_replaced_under_load_and_nothing_else(make_app: MakeApp) -> None:
    app = make_app(ENTRY, TOML, entry="Entry")
    (app.folder / "words.py").write_text(WORDS)
    app.up().all_up()
    with HttpLoad(app.url, "work", {"x": 1}, rate=RATE) as load:
        before = pids(app)
        versions = {row["service"]: row["version"] for row in app.rows()}
        change(app, "words.py", "old", "new")
        app.up()
        # Ready is said when all of them are replaced.
        assert replaced(app, before) == {"Words/0", "Words/1"}, "neither the ingress, nor what uses them"
        assert app.post("work", {"x": 2}) == (200, b"new 2")
        now = {row["service"]: row["version"] for row in app.rows()}
        assert {name for name in now if now[name] != versions[name]} == {"Words"}
        assert app.get("/docs.json")[1]["info"]["version"] == now["Entry"]

        before = pids(app)
        change(app, "service.py", "async def work(self, x: int)", "async def work(self, x: int, loud: bool = False)")
        app.up()
        assert replaced(app, before) == {"Entry/0"}
        assert app.post("work", {"x": 2, "loud": True}) == (200, b"new 2")
        renewed = app.row("Entry")["version"]
        assert renewed != now["Entry"]
        assert app.get("/docs.json")[1]["info"]["version"] == renewed, "the ingress that serves on knows it"

        # Code that cannot start is tried with one replica, and the others serve on as they are.
        before = pids(app)
        change(
            app,
            "words.py",
            "    @svcd.api",
            "    def __init__(self):\n        raise OSError('no such weights')\n\n    @svcd.api",
        )
        said = app.svcd("up", "--wait", code=1).stderr
        assert "not all of it became ready, and it goes on as it is: Words/0: 5 failures in a row" in said
        assert "no such weights" in said
        assert replaced(app, before) == {"Words/0"}
        assert [app.row("Words", index)["state"] for index in (0, 1)] == ["failed", "ready"]
        assert app.post("work", {"x": 2}) == (200, b"new 2")
        (new,) = {row["version"] for row in app.rows() if row["service"] == "Words" and row["replica"] == 1}
        assert new == now["Words"], "the version is that of the code that runs"
    assert [json.dumps(str(each.error)) for each in load.failed] == []
    assert len(load.noted) > RATE
    app.svcd("down")
