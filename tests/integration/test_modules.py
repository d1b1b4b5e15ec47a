"""What the processes of a live app have imported, and what they have not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import MakeApp

NOSY = """
    import os, pathlib, sys
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
"""
NOT_IN_A_REPLICA = {"click", "psutil", "tomli", "pynvml", "hypercorn", "starlette"}


def test_a_replica_holds_nothing_of_the_daemon_and_nobody_else_holds_user_code(make_app: MakeApp) -> None:
    app = make_app(NOSY, entry="Nosy").up()
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


def test_the_daemon_and_the_keeper_hold_no_pydantic(make_app: MakeApp) -> None:
    """Told from outside: its core is a shared library, which a process that has imported it has mapped."""
    app = make_app(NOSY, entry="Nosy").up()
    assert app.daemon is not None

    def maps_pydantic(pid: int) -> bool:
        return "pydantic_core" in Path(f"/proc/{pid}/maps").read_text()

    assert maps_pydantic(app.row("Nosy")["pid"])
    assert not any(map(maps_pydantic, (app.daemon.pid, *app.guard_and_keeper())))
