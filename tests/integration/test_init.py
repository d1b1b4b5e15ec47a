"""What `svcd init` makes runs at once: checked, tested, started, asked, stopped; and it never overwrites anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import tomli

from running import SVCD, RunningApp
from svcd.cli.init import CALLS, TEMPLATES
from svcd.config.json_schema import json_schema

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = {
    "pipeline": b"positive",
    "ensemble": {"words": 0.7, "marks": 0.6, "together": 0.675},
    "dag": {"grade": 2.2, "seconds": 1.0},
    "command": b"positive",
}
EACH = pytest.mark.parametrize("template", sorted(CALLS))


def init(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SVCD, "init", *args], cwd=cwd, capture_output=True, text=True, check=False)


def test_each_template_has_a_call() -> None:
    assert CALLS.keys() == ANSWERS.keys() == {path.name for path in TEMPLATES.iterdir() if path.is_dir()}


@EACH
def test_from_nothing_to_an_answer(template: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "app"
    told = init("--template", template, str(folder), cwd=tmp_path).stdout
    made = {path.name for path in folder.iterdir()}
    assert made == {"service.py", "svcd.toml", "test_service.py"} | ({"model.py"} if template == "command" else set())
    ((body, api),) = re.findall(r"--json '(.*)' 127.0.0.1:3000/(\w+)", told)
    with RunningApp(folder, options=("--set", "app.http=127.0.0.1:0")) as app:
        assert app.svcd("check").stdout.startswith(f"{app.name}: ")
        app.up()
        assert app.post(api, json.loads(body)) == (200, ANSWERS[template])
        assert app.svcd("down").stdout == "stopped\n"
        app.assert_gone()


@EACH
def test_its_own_test_passes(template: str, tmp_path: Path) -> None:
    init("--template", template, cwd=tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9] passed", done.stdout)


@EACH
def test_its_toml_is_commented_and_shows_what_there_is(template: str) -> None:
    text = (TEMPLATES / template / "svcd.toml").read_text()
    tree: dict[str, Any] = tomli.loads(text)
    assert {"cpu.small", "gpu.one"} == tree["instance_types"].keys()
    assert jsonschema.Draft7Validator(json_schema()).is_valid(tree)
    assert text.count("#") > 8
    # What stands in a comment, to be tried, is right too.
    tried: dict[str, Any] = tomli.loads(text.replace("\n# envs", "\nenvs"))
    assert tried != tree
    assert jsonschema.Draft7Validator(json_schema()).is_valid(tried)


@EACH
def test_the_profile_for_gpus_asks_for_them(template: str, tmp_path: Path) -> None:
    init("--template", template, cwd=tmp_path)
    check = [*SVCD, "check", "--profile", "gpu"]
    done = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "1 GPU each" in done.stdout


@pytest.mark.parametrize("name", ["service.py", "svcd.toml", "test_service.py"])
def test_nothing_is_overwritten(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    done = init(cwd=tmp_path)
    assert done.returncode == 1
    assert (
        done.stderr
        == f"svcd: {name} is there already, and init overwrites nothing; name another folder: svcd init DIR\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"


def test_not_even_a_link_to_nowhere_is_followed(tmp_path: Path) -> None:
    (tmp_path / "svcd.toml").symlink_to(tmp_path / "elsewhere")
    assert init(cwd=tmp_path).returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = init("file", cwd=tmp_path)
    assert (done.returncode, done.stderr.partition(",")[0]) == (1, "svcd: file is there already")
