"""What the processes of a live app have imported, what they have not, and how it is held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

NOSY = """
    import gc, os, pathlib, sys
    import svcd

    with open(pathlib.Path(__file__).with_name("imported-by"), "a") as note:
        note.write(f"{os.getpid()}\\n")

    @svcd.service
    class Plain:
        @svcd.api
        def modules(self) -> list[str]:
            return sorted(sys.modules)

    @svcd.service
    class Nosy:
        plain = svcd.depends(Plain)

        @svcd.api
        async def modules(self) -> list[str]:
            return sorted(sys.modules)

        @svcd.api
        async def collector(self) -> dict[str, bool]:
            held, mine = gc.get_freeze_count(), gc.get_objects()
            return {"svcd_is_left_out": held > len(mine), "mine_is_not": Plain in mine, "collects": gc.isenabled()}
"""
NOT_IN_A_REPLICA = {"click", "psutil", "tomli", "pynvml", "hypercorn", "starlette"}


@pytest.fixture(scope="module")
def app(share_app: MakeApp) -> RunningApp:
    return share_app(NOSY, entry="Nosy").up()


def test_a_replica_holds_nothing_of_the_daemon_and_nobody_else_holds_user_code(app: RunningApp) -> None:
    for service in ("Plain", "Nosy"):
        held = set(json.loads(app.svcd("call", f"{service}.modules").stdout))
        assert {"service", "trio", "msgpack"} <= held
        assert not NOT_IN_A_REPLICA & held
        assert not {name for name in held if name.startswith(("svcd.cli", "svcd.config", "svcd.runtime", "svcd.host"))}
    assert app.post("modules")[0] == 200
    replicas = {row["pid"] for row in app.rows() if row["service"] != "ingress"}
    importers = set(map(int, (app.folder / "imported-by").read_text().split()))
    assert replicas <= importers
    # Beside the replicas, only the child that read the graph, which has gone.
    assert not (importers - replicas) & app.processes()


def test_what_svcd_imported_is_not_looked_through_for_garbage_and_what_the_service_did_is(app: RunningApp) -> None:
    assert app.post("collector") == (200, {"svcd_is_left_out": True, "mine_is_not": True, "collects": True})


def test_the_daemon_and_the_keeper_hold_no_pydantic(app: RunningApp) -> None:
    """Told from outside: its core is a shared library, which a process that has imported it has mapped."""
    assert app.daemon is not None

    def maps_pydantic(pid: int) -> bool:
        return "pydantic_core" in Path(f"/proc/{pid}/maps").read_text()

    assert maps_pydantic(app.row("Nosy")["pid"])
    assert not any(map(maps_pydantic, (app.daemon.pid, *app.guard_and_keeper())))
