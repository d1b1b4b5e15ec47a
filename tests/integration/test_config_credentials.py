"""A credential that systemd passes to svcd reaches the service that asks for it, and nobody else."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from running import SVCD, write_app
from systemd.booted import Systemd

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.systemd, pytest.mark.root]

SERVICE = """
    import os, svcd

    @svcd.service
    class Other:
        @svcd.api
        async def environment(self) -> dict[str, str]:
            return dict(os.environ)

    @svcd.service
    class Entry:
        other = svcd.depends(Other)

        @svcd.api
        async def environments(self) -> list[dict[str, str]]:
            return [dict(os.environ), await self.other.environment()]
"""
TOML = "[services.Entry]\nenvs = { KEY = { credential = 'api-key' } }\n"


def test_a_credential_reaches_the_service_that_asks_for_it(tmp_path: Path) -> None:
    folder = write_app(tmp_path / "app", SERVICE, TOML, entry="Entry")
    (tmp_path / "secret").write_text("hunter2\n")
    env = {key: value for key, value in os.environ.items() if not key.startswith("SVCD")}
    unit = subprocess.run([*SVCD, "unit", "print"], cwd=folder, env=env, capture_output=True, text=True, check=True)
    with Systemd(tmp_path) as systemd:
        # systemd mounts credentials in a namespace of its own, and it takes sharing for them to be seen in another.
        systemd.run("mount", "--make-rshared", "/")
        systemd.install("x.service", unit.stdout, LoadCredential=f"api-key:{tmp_path / 'secret'}")
        systemd.run("systemctl", "start", "x")
        url = systemd.show("x")["StatusText"].partition(" at ")[2]
        address = f"http://{urlsplit(url).netloc}/environments"
        entry, other = json.loads(systemd.run("curl", "--silent", "--show-error", "-X", "POST", address).stdout)
        assert entry["KEY"] == "hunter2"
        assert "KEY" not in other
        assert not {"CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "INVOCATION_ID"} & (entry.keys() | other.keys())
        systemd.run("systemctl", "stop", "x")
