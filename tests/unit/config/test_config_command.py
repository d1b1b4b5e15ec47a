"""`svcd config --explain` over real files, decorators, variables, flags: all keys and all pairs of layers at once."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from config_values import LAYERS, VALUES, applicable, concrete, decorator, toml_of, variable

from running import SVCD
from svcd.config import schema

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = {f"S{number:02}": pair for number, pair in enumerate(itertools.combinations(LAYERS, 2))}
"""One service for each pair of layers; both set every key of it."""
CHAIN = {
    "app.service": [f"service{number}:S00" for number in range(6)],
    "app.name": [f"name{number}" for number in range(6)],
    "app.http": [f"localhost:{number}" for number in range(6)],
    "app.orphan_grace": [f"{number}s" for number in range(1, 7)],
    "app.max_body": [f"{number}Mi" for number in range(1, 7)],
    "app.max_header": [f"{number}Ki" for number in range(1, 7)],
    "app.max_connections": [1, 2, 3, 4, 5, 6],
    **{f"app.{name}_timeout": [f"{number}s" for number in range(1, 7)] for name in ("header", "body", "idle", "total")},
    "app.cors.origins": [[f"https://{number}.example"] for number in range(6)],
    **{f"app.cors.{name}": [[f"X-{number}"] for number in range(6)] for name in ("methods", "headers", "expose")},
    "app.cors.credentials": [True, False] * 3,
    "app.cors.max_age": [f"{number}s" for number in range(6)],
    "app.python": ["./one", "./two"] * 3,
    "app.ingress.replicas": [1, 2, 3, 4, 5, 6],
    "app.spin": [f"{number}us" for number in range(1, 7)],
    "app.arena": [f"{number}Mi" for number in range(1, 7)],
    "app.start_parallelism": [1, 2, 3, 4, 5, 6],
    **{f"app.logs.{name}": [f"{number}Mi" for number in range(1, 7)] for name in ("size", "burst")},
    "app.logs.age": [f"{number}s" for number in range(1, 7)],
    "app.async_backend": ["trio", "asyncio"] * 3,
    "app.tasks.store": ["./one", "./two"] * 3,
    **{f"app.tasks.{name}": [1, 2, 3, 4, 5, 6] for name in ("max_queued", "concurrency")},
    "app.tasks.max_size": [f"{number}Mi" for number in range(1, 7)],
    "app.tasks.result_ttl": [f"{number}s" for number in range(1, 7)],
    "app.colocate": [[["S00", f"S{number:02}"]] for number in range(1, 7)],
    "instance_types.*.gpu": [1, 2, 3, 4],
    "instance_types.*.gpu_type": ["A10", "L4", "A100", "H100"],
    "instance_types.*.cpu": [1, 2, 3, 4],
    "instance_types.*.memory": [f"{number}Gi" for number in range(1, 5)],
}
"""What the layers say, lowest first, of the keys that belong to no service: all of them say it at once."""
FILES = {
    "file": "svcd.toml",
    "profile": "svcd.toml",
    "second file": "more.toml",
    "second file's profile": "more.toml",
}
SHOWN = {"decorator": "decorator", "environment": "environment", "--set": "--set"}


class Written:
    """What each layer is to say, and its files."""

    def __init__(self) -> None:
        self.said: dict[str, dict[tuple[str, ...], Any]] = {layer: {} for layer in LAYERS}
        for key in schema.KEYS:
            if not key.path.startswith("services."):
                for layer, value in zip(applicable(key), CHAIN[key.path], strict=True):
                    self.said[layer][concrete(key.path)] = value
                continue
            if key.of == "command":
                continue  # these services are classes; test_precedence.py has the keys of programs
            for service, pair in PAIRS.items():
                if set(pair) <= set(applicable(key)):
                    path = ("services", service, *concrete(key.path)[2:])
                    for layer, value in zip(pair, VALUES[key.path], strict=True):
                        self.said[layer][path] = value

    def write(self, folder: Path) -> None:
        """Write all that is a file."""
        for name in ("svcd.toml", "more.toml"):
            lines = ["[instance_types.two]"] if name == "svcd.toml" else []
            for layer in [layer for layer, file in FILES.items() if file == name]:
                prefix = ("profiles", "prod") if "profile" in layer else ()
                lines[:0] = [
                    f"{'.'.join((*prefix, *path))} = {toml_of(value)}" for path, value in self.said[layer].items()
                ]
            (folder / name).write_text("\n".join(lines))
        classes = ["import svcd"]
        for service in reversed(PAIRS):
            said = {path: value for path, value in self.said["decorator"].items() if path[1] == service}
            options: dict[str, Any] = {}
            for path, value in said.items():
                merge(options, decorator(path, value))
            edges = "".join(f"    s{other} = svcd.depends({other})\n" for other in PAIRS if service == "S00" < other)
            classes.append(f"@svcd.service(**{options!r})\nclass {service}:\n{edges or '    pass'}\n")
        (folder / "service5.py").write_text("\n".join(classes))
        for name in ("one", "two"):
            (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
            (folder / name).chmod(0o755)
            (folder / f"{name}.env").write_text("FROM_DOTENV=1\n")

    def environ(self) -> dict[str, str]:
        """Return the variables that the layer of that name is made of."""
        return {variable(path): toml_of(value) for path, value in self.said["environment"].items()}

    def flags(self) -> list[str]:
        """Return the options of the command line."""
        sets = [f"{'.'.join(path)}={toml_of(value)}" for path, value in self.said["--set"].items()]
        return [word for each in sets for word in ("--set", each)]


def merge(tree: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and name in tree:
            merge(tree[name], value)
        else:
            tree[name] = value


def test_every_key_and_every_pair_of_layers(tmp_path: Path):
    written = Written()
    written.write(tmp_path)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SVCD")}
    command = ["config", "--explain", "--json", "-f", "svcd.toml", "-f", "more.toml", "--profile", "prod"]
    done = subprocess.run(
        [*SVCD, *command, *written.flags()],
        cwd=tmp_path,
        env={**environ, **written.environ(), "SVCD_RUNTIME_DIR": str(tmp_path / "run")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = {row["key"]: row for row in json.loads(done.stdout)}
    paths = {path for said in written.said.values() for path in said}
    assert len(paths) > 21 * 30
    for path in paths:
        row = found[".".join(path)]
        layers = [layer for layer in row["layers"] if layer["layer"] != "default"]
        layers = [layer for layer in layers if not layer["layer"].startswith(("instance type", "env_file"))]
        expected = [(layer, said[path]) for layer, said in written.said.items() if path in said]
        assert [said["value"] for said in layers] == [value for _, value in expected], path
        assert (row["value"], row["where"]) == (layers[-1]["value"], layers[-1]["where"]), path
        for (layer, _), said in zip(expected, layers, strict=True):
            assert said["layer"] == SHOWN.get(layer, "profile prod" if "profile" in layer else "file"), path
            assert said["where"].startswith(place_of(layer, path, tmp_path)), path


def place_of(layer: str, path: tuple[str, ...], folder: Path) -> str:
    """Name the place that a layer's value stands at, as far as this test knows it."""
    if layer == "decorator":
        return "decorator service5.py:"
    if layer == "environment":
        return variable(path)
    if layer == "--set":
        return f"--set {'.'.join(path)}"
    prefix = ("profiles", "prod") if "profile" in layer else ()
    lines = (folder / FILES[layer]).read_text().splitlines()
    start = f"{'.'.join((*prefix, *path))} ="
    return f"{FILES[layer]}:{next(number for number, line in enumerate(lines, 1) if line.startswith(start))}"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["services.Model.thread"], "svcd: services.Model.thread: no layer says anything of it; did you mean"),
        (["--set", "services.Model.scaling={min_replicas=2, max_replicas=1}"], "max_replicas is 1, below min_replicas"),
    ],
)
def test_what_is_wrong_ends_with_1(args: list[str], told: str, tmp_path: Path):
    (tmp_path / "service.py").write_text("import svcd\n@svcd.service\nclass Model:\n    pass\n")
    (tmp_path / "svcd.toml").write_text('[app]\nservice = "service:Model"\n')
    environ = os.environ | {"SVCD_RUNTIME_DIR": str(tmp_path / "run")}
    command = [*SVCD, "config", *args]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, told in done.stderr) == (1, True), done.stderr
