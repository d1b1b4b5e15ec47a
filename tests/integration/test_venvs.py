"""Services in virtual environments that share nothing, and in ones that cannot run a worker."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from running import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MakeApp
    from running import RunningApp

WORKER_NEEDS = ("trio", "msgpack", "pydantic")

LEFT = """
    import sys, left_only, svcd

    @svcd.service
    class Left:
        right = svcd.depends("right:Right")

        @svcd.api
        async def names(self, text: str) -> dict[str, str]:
            return {"left": left_only.NAME, "prefix": sys.prefix, **await self.right.names(text=text)}
"""

RIGHT = """
import sys

import right_only
import svcd


@svcd.service
class Right:
    @svcd.api
    async def names(self, text: str) -> dict[str, str]:
        return {"right": right_only.NAME, "right_prefix": sys.prefix, "text": text}

    @svcd.api
    def installed(self) -> list[str]:
        from importlib import metadata
        return sorted(found.name for found in metadata.distributions())
"""


def closure(names: tuple[str, ...]) -> set[str]:
    """Distributions that these need, themselves included."""
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            needs = (Requirement(text) for text in metadata.requires(name) or ())
            todo += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def make_environment(folder: Path, package: str, *, needs: tuple[str, ...] = WORKER_NEEDS) -> Path:
    """A virtual environment with the package PACKAGE_only and what is needed, as links, without a network."""
    venv.create(folder, with_pip=False, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / f"{package}_only.py").write_text(f"NAME = {package!r}\n")
    for name in closure(needs) if needs else ():
        distribution = metadata.distribution(name)
        for top in {Path(file.parts[0]) for file in distribution.files or () if file.parts[0] not in {"..", "bin"}}:
            if top.name != "__pycache__":
                (site / top).symlink_to(distribution.locate_file(top))
    return folder / "bin" / "python"


@pytest.fixture
def apart(make_app: MakeApp, tmp_path: Path) -> RunningApp:
    """An app whose two services live in two environments."""
    pythons = {name: make_environment(tmp_path / f"venv-{name}", name) for name in ("left", "right")}
    toml = "".join(f'[services.{name.title()}]\npython = "{python}"\n' for name, python in pythons.items())
    app = make_app(LEFT, toml, entry="Left")
    (app.folder / "right.py").write_text(RIGHT)
    return app


def test_two_services_in_two_environments(apart: RunningApp, tmp_path: Path) -> None:
    apart.up()
    assert apart.post("names", {"text": "é"}) == (
        200,
        {
            "left": "left",
            "prefix": str(tmp_path / "venv-left"),
            "right": "right",
            "right_prefix": str(tmp_path / "venv-right"),
            "text": "é",
        },
    )
    # Neither knows svcd: it comes from where the daemon's lies.
    installed = json.loads(apart.svcd("call", "Right.installed").stdout)
    assert set(installed) == {metadata.metadata(name)["Name"] for name in closure(WORKER_NEEDS)}
    for name in ("left", "right"):
        other = "right" if name == "left" else "left"
        for missing in ("svcd", "svcd_ipc", f"{other}_only"):
            python = tmp_path / f"venv-{name}" / "bin" / "python"
            probe = [python, "-c", f"import importlib.util as i; print(i.find_spec({missing!r}))"]
            assert subprocess.run(probe, capture_output=True, text=True, check=True).stdout == "None\n"


def test_check_reads_each_service_with_its_own_interpreter(apart: RunningApp) -> None:
    done = apart.svcd("check")
    assert "Left: 1 replica; calls Right" in done.stdout
    assert "Right: 1 replica" in done.stdout
    services = json.loads(apart.svcd("check", "--json").stdout)["services"]
    assert {name: Path(services[name]["python"]).parts[-3] for name in services} == {
        "Left": "venv-left",
        "Right": "venv-right",
    }


def test_a_dependency_in_an_environment_that_nobody_names(apart: RunningApp, tmp_path: Path) -> None:
    app = apart
    text = (app.folder / "svcd.toml").read_text().partition("[services.Right]")[0]
    (app.folder / "svcd.toml").write_text(text)
    said = app.svcd("check", code=1).stderr
    assert "right:Right" in said
    assert "No module named 'right_only'" in said
    assert '[services.Right] python = "..."' in said


def unfit(make_app: MakeApp, python: Path) -> Iterator[str]:
    """What `svcd check` and `svcd up` say of an app under an interpreter that cannot run it."""
    source = "import svcd\n@svcd.service\nclass Ping:\n    @svcd.api\n    def ping(self) -> str: return 'pong'\n"
    app = make_app(source, entry="Ping", options=("--set", f"app.python={python}"))
    yield app.svcd("check", code=1).stderr
    app.up(wait=False)
    wait_until(lambda: app.daemon_ended, "svcd up to end")
    assert app.daemon is not None
    assert app.daemon.returncode == 1
    yield app.stderr
    assert not app.runtime.exists()


def test_an_environment_that_lacks_msgpack(make_app: MakeApp, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "bare", "bare", needs=("trio", "pydantic"))
    for said in unfit(make_app, python):
        assert f"{python} lacks msgpack; run: {python} -m pip install msgpack" in said
        assert "Traceback" not in said


def test_an_environment_that_lacks_everything(make_app: MakeApp, tmp_path: Path) -> None:
    python = make_environment(tmp_path / "bare", "bare", needs=())
    for said in unfit(make_app, python):
        assert f"{python} lacks trio, msgpack, pydantic" in said
        assert f"{python} -m pip install trio msgpack 'pydantic>=" in said


OLD = """#!/bin/sh
# A Python that says it is 3.9, and runs a script as that one would.
exec {python} -P -c '
import runpy, sys
sys.version_info = (3, 9, 2, "final", 0)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
' "$@"
"""


def test_a_python_that_is_too_old(make_app: MakeApp, tmp_path: Path) -> None:
    python = tmp_path / "python3.9"
    python.write_text(OLD.format(python=sys.executable))
    python.chmod(0o755)
    for said in unfit(make_app, python):
        assert "is Python 3.9; svcd needs 3.11 or later" in said
        assert "Traceback" not in said
