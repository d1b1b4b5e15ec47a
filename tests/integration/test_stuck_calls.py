"""A `def` call whose caller has gone keeps its thread and its slot, and `svcd ps` says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from running import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp

APP = """
    import pathlib
    import time

    import svcd

    @svcd.service(traffic={"max_concurrency": 1, "timeout": 1})
    class Slow:
        @svcd.api
        def wait_for(self, path: str) -> str:
            while not pathlib.Path(path).exists():
                time.sleep(0.01)
            return "done"
"""


def test_an_abandoned_call_keeps_its_slot_until_its_thread_is_free(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app(APP, entry="Slow").up()
    door = tmp_path / "door"
    wait_until(lambda: app.post("wait_for", {"path": str(tmp_path)})[0] == 200, "a call to come through in its second")

    def is_held() -> bool:
        assert app.post("wait_for", {"path": str(door)})[0] == 504
        return bool(app.row("Slow")["in_flight"])

    wait_until(is_held, "the slot to be held")
    wait_until(lambda: app.row("Slow")["reason"] == "1 abandoned call still runs", "svcd ps to say so")
    assert app.row("Slow")["in_flight"] == 1
    assert app.post("wait_for", {"path": str(tmp_path)})[0] == 504, "no room within its deadline"
    door.touch()
    wait_until(lambda: app.row("Slow")["in_flight"] == 0, "the slot to be free")
    assert app.row("Slow")["reason"] == ""
    wait_until(lambda: app.post("wait_for", {"path": str(door)}) == (200, b"done"), "a call to come through again")
