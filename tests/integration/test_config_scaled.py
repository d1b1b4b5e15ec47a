"""What `svcd scale` has set is part of what `svcd config` shows while the app runs, and is gone with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import MakeApp
    from running import RunningApp

SERVICE = """
    import svcd

    @svcd.service
    class Words: pass

    @svcd.service
    class Entry:
        words = svcd.depends(Words)
"""
KEY = "services.Words.scaling.min_replicas"


def layers(app: RunningApp) -> list[tuple[str, Any]]:
    """What each layer says, lowest first."""
    (row,) = json.loads(app.svcd("config", "--explain", "--json", KEY).stdout)
    return [(said["layer"], said["value"]) for said in row["layers"]]


def test_scaling_a_running_service_is_the_highest_layer(make_app: MakeApp) -> None:
    app = make_app(SERVICE, "[services.Words]\nscaling.min_replicas = 2\n", entry="Entry").up()
    from_the_file = [("default", 1), ("file", 2)]
    assert layers(app) == from_the_file
    app.svcd("scale", "Words=1", "ingress=2")
    assert layers(app) == [*from_the_file, ("svcd scale", 1)]
    assert "svcd scale Words=1" in app.svcd("config", KEY).stdout
    app.svcd("down")
    assert layers(app) == from_the_file
