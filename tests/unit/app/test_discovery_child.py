"""The discovery child, as it is run: what it reports of a graph, and of what is wrong with one."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import svcd
from svcd.values.boot import DiscoverBoot, dump

BOOT = Path(svcd.__file__).parent / "worker" / "boot.py"
SHOP = """
import svcd, torch_of_another_venv_maybe as torch

@svcd.service(version="v7")
class Words:
    @svcd.api(idempotent=True)
    async def split(self, text: str): yield text

@svcd.service(resources={"gpu": 1}, envs={"A": "b"})
class Shop:
    words = svcd.depends(Words, timeout=2, retries=1, optional=True)
    far = svcd.depends("far:Far")

    @svcd.api
    def sell(self, item: str) -> int: ...
""".replace(", torch_of_another_venv_maybe as torch", "")


def discover(root: Path, *targets: str, python: tuple[str, ...] = (sys.executable,)) -> tuple[dict[str, Any], int]:
    report = root / "report.json"
    boot = DiscoverBoot(root=str(root), targets=list(targets), report=str(report))
    done = subprocess.run([*python, "-P", BOOT], input=dump(boot), capture_output=True, check=False)
    assert report.exists(), done.stderr.decode()
    assert [path.name for path in root.iterdir() if path.suffix == ".part"] == []
    return json.loads(report.read_text()), done.returncode


def test_the_report_tells_the_whole_graph(tmp_path: Path) -> None:
    shop = tmp_path / "shop.py"
    shop.write_text(SHOP)
    report, status = discover(tmp_path, "shop:Shop")
    assert status == 0
    assert report["error"] is None
    assert report["entry"] == "Shop"
    assert list(report["unresolved"]) == ["far:Far"]
    assert "no module 'far'" in report["unresolved"]["far:Far"]
    assert report["services"]["Words"]["version"] == "v7"
    assert report["services"]["Words"]["apis"] == [
        {
            "name": "split",
            "is_async": True,
            "is_stream": True,
            "idempotent": True,
            "max_batch_size": 0,
            "is_task": False,
        }
    ]
    assert report["services"]["Shop"] == {
        "name": "Shop",
        "target": "shop:Shop",
        "file": str(shop),
        "line": 9,
        "config": {"resources": {"gpu": 1}, "envs": {"A": "b"}},
        "version": hashlib.sha256(shop.read_bytes()).hexdigest()[:12],
        "apis": [
            {"name": "sell", "is_async": False, "is_stream": False, "idempotent": False}
            | {"max_batch_size": 0, "is_task": False},
        ],
        "dependencies": [
            {
                "name": "words",
                "service": "Words",
                "target": "shop:Words",
                "timeout": 2,
                "retries": 1,
                "optional": True,
                "fallback": None,
            },
            {
                "name": "far",
                "service": None,
                "target": "far:Far",
                "timeout": None,
                "retries": 2,
                "optional": False,
                "fallback": None,
            },
        ],
    }


def test_an_import_error_shows_the_users_frames_only(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text("def load():\n    return 1 / 0\n\nload()\n")
    report, status = discover(tmp_path, "shop:Shop")
    assert status == 1
    assert report["error"]["kind"] == "import"
    assert report["error"]["message"] == "importing 'shop' failed: ZeroDivisionError: division by zero"
    lines = report["error"]["traceback"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == f'  File "{tmp_path}/shop.py", line 4, in <module>'
    assert lines[-1] == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import svcd\n@svcd.service(resources={'gpu': {1}})\nclass Shop: ...\n",
            "shop.py:2: Shop: resources.gpu: {1} (set)",
        ),
        ("import svcd\n@svcd.service(envs={1: 'x'})\nclass Shop: ...\n", "envs: the key 1 is no string"),
        ("import svcd\n@svcd.service\nclass Shop:\n    me = svcd.depends('shop:Shop')\n", "Shop -> Shop"),
    ],
)
def test_graph_errors_are_told(source: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(source)
    report, status = discover(tmp_path, "shop:Shop")
    assert status == 1
    assert report["error"]["kind"] == "graph"
    assert message in report["error"]["message"]


def test_an_unfit_interpreter_is_told(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    report, status = discover(tmp_path, "shop:Shop", python=(sys.executable, "-S", "-I"))
    assert status == 1
    assert report["error"]["kind"] == "environment"
    assert f"run: {sys.executable} -m pip install trio msgpack 'pydantic>=2.9'" in report["error"]["message"]


def test_discovery_is_light(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "import sys, svcd\n@svcd.service\nclass Shop: ...\n"
        "heavy = {'trio', 'pydantic', 'pydantic_core', 'msgpack', 'numpy', 'svcd.worker'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    assert discover(tmp_path, "shop:Shop")[0]["error"] is None
