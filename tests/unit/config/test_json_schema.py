"""`svcd schema` is a JSON Schema, takes what svcd takes, and tools for TOML work with it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from config_values import VALUES, concrete, toml_of
from test_wrong_files import FILES, WRONG

from svcd.config import schema
from svcd.config.json_schema import json_schema

SCHEMA = json_schema()
EXAMPLES = sorted(Path(__file__).parents[3].glob("examples/*/*.toml"))
TAPLO = shutil.which("taplo", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")


def errors(tree: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft7Validator(SCHEMA)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(tree)]


def test_it_is_a_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def described(node: dict[str, Any], path: str = "") -> dict[str, dict[str, Any]]:
    """Every key that the schema describes, as `schema.KEYS` writes it."""
    if ref := node.get("$ref"):
        node = SCHEMA["definitions"][ref.rpartition("/")[2]]
    if not {"properties", "additionalProperties"} & node.keys():
        return {path: node}
    inner = node.get("additionalProperties")
    children = {**node.get("properties", {}), **({"*": inner} if isinstance(inner, dict) else {})}
    prefix = f"{path}." if path else ""
    return {key: it for name, child in children.items() for key, it in described(child, f"{prefix}{name}").items()}


def test_it_has_every_key_with_its_help_and_no_other():
    found = described(SCHEMA)
    keys = {key.path: key for key in schema.KEYS}
    profiled = {f"profiles.*.{path}" for path in keys if not path.startswith("instance_types.")}
    assert found.keys() == keys.keys() | profiled
    for path, key in keys.items():
        assert found[path]["description"] == key.help
        assert ("default" in found[path]) == (key.default is not None)


@pytest.mark.parametrize("key", schema.KEYS, ids=lambda key: key.path)
def test_it_takes_the_values_and_defaults_that_svcd_takes(key: schema.Key):
    written = [toml_of(value) for value in VALUES[key.path]]
    written += [key.kind.write(key.default)] if key.default is not None else []
    for value in written:
        assert errors(tomli.loads(f"{'.'.join(concrete(key.path))} = {value}")) == []


@pytest.mark.parametrize(
    "text",
    [
        *(
            'services.M.traffic.timeout = "1h 30m"',
            "services.M.traffic.timeout = 0.5",
            'services.M.traffic.timeout = "1e3"',
        ),
        *(
            "app.http = 3000",
            'app.http = ":3000"',
            'app.http = "[::1]:80"',
            'app.max_body = "1.5 GiB"',
            "app.max_body = 1",
        ),
        *('services.M.envs.A = { file = "x" }', "services.M.envs.A = { unset = true }"),
        *("services.M.envs.A = { from_host = true, secret = false }", 'services.M.envs.A = { value = "" }'),
        *('services.M.envs.A = { credential = "x" }', 'services.M.env_file = "x"', "services.M.env_file = []"),
        *("profiles.p.services.M.threads = 2", 'app.service = "päckchen.größe:Modell"', ""),
    ],
)
def test_it_takes_every_form(text: str):
    assert errors(tomli.loads(text)) == []


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_takes_the_examples(path: Path):
    assert errors(tomli.loads(path.read_text("utf-8"))) == []


SAYS_LESS = {
    *("app-missing", "app-service-missing"),  # another file of the app may say it
    *(f"colocate-{what}" for what in ("command", "envs", "process", "python", "python-of-one", "scaling", "twice")),
    *(f"colocate-{what}" for what in ("circle", "unknown-far", "unknown-in-profile", "unknown-service")),
    *(f"after-{what}" for what in ("circle", "itself", "unknown")),
    *(f"command-{what}" for what in ("env-port", "key-of-a-class", "of-a-class")),
    *(f"command-{what}" for what in ("oneshot", "placeholder", "two-signs")),
    *(f"command-name-{what}" for what in ("case", "reserved", "with-dot")),
    *(f"command-port-{what}" for what in ("and-replicas", "of-http", "twice")),
    *("class-key-of-a-command", "liveness-of-nothing"),
    *("env-file-broken", "env-file-missing", "envs-file-missing", "envs-host-lacks-it", "envs-long-secret"),
    *(
        "envs-bad-name",
        "envs-reserved",
        "envs-reserved-by-svcd",
        "envs-reference-no-name",
        "envs-reference-to-itself",
        "envs-reference-unknown",
    ),
    "gpu-type-without-gpus",
    *("instance-type-none-defined", "instance-type-undefined", "python-missing", "python-not-on-path"),
    *("scaling-max-below-decorator", "scaling-min-above-max", "http-port-too-high", "timeout-infinite"),
    *("unknown-service", "unknown-service-case", "unknown-service-far", "unknown-service-in-profile"),
}
"""Wrong files whose fault is in no key and no type, which is all that a schema sees."""


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("toml-")])
def test_it_refuses_what_svcd_refuses_but_for_what_it_cannot_see(name: str):
    tree = tomli.loads((WRONG / name).read_text("utf-8-sig"))
    assert bool(errors(tree)) == (name.removesuffix(".toml") not in SAYS_LESS)


@pytest.mark.skipif(TAPLO is None, reason="taplo is not installed: pip install taplo")
def test_a_tool_for_toml_finds_by_it_what_is_right_and_what_is_wrong(tmp_path: Path):
    (tmp_path / "svcd.schema.json").write_text(json.dumps(SCHEMA))
    right = [*EXAMPLES, tmp_path / "right.toml"]
    lines = [f"{'.'.join(concrete(key.path))} = {toml_of(VALUES[key.path][0])}" for key in schema.KEYS]
    right[-1].write_text("\n".join(lines))
    done = taplo(tmp_path, *right)
    assert done.returncode == 0, done.stderr
    for name in ("unknown-key-dotted.toml", "threads-float.toml", "max-body-small-m.toml"):
        done = taplo(tmp_path, WRONG / name)
        assert done.returncode != 0, name


def test_the_directive_in_the_file_is_enough_for_the_tool(tmp_path: Path):
    if TAPLO is None:
        pytest.skip("taplo is not installed: pip install taplo")
    (tmp_path / "svcd.schema.json").write_text(json.dumps(SCHEMA))
    file = tmp_path / "svcd.toml"
    file.write_text("#:schema ./svcd.schema.json\n[services.M]\nthreds = 1\n")
    done = subprocess.run([TAPLO, "lint", str(file)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode != 0
    assert "threds" in done.stderr


def taplo(folder: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [str(TAPLO), "lint", "--schema", f"file://{folder}/svcd.schema.json", *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
