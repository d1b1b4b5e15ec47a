"""The compiled core does what the source does: all that is tested of svcd_ipc by itself, and what is tested of the
service layer in one process, once more with it.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Any

import pytest

from fakenvml.box import compiler

if TYPE_CHECKING:
    from conftest import MakeApp

ROOT = Path(__file__).parents[2]
HEADERS = Path(sysconfig.get_path("include"), "Python.h")
SERVICE = """
import svcd

@svcd.service
class Only:
    @svcd.api
    async def echo(self, text: str) -> str:
        return text
"""
COMPILED = {"svcd_ipc": "svcd_ipc/compiled", "svcd.worker": "svcd/worker/compiled"}
"""By package: where its compiled modules lie."""
WORKER = (
    *(
        "choice",
        "deputy",
        "fallback",
        "garbage",
        "http_edge",
        "lobby",
        "members",
        "mounted_apps",
        "pulse",
        "replica_end",
        "routes",
    ),
    "stream_inputs",
)
CHAIN = """
import svcd

@svcd.service
class Only:
    @svcd.api
    async def echo(self, text: str) -> str:
        return text

@svcd.service
class Chain:
    only = svcd.depends(Only)

    @svcd.api
    async def echo(self, text: str) -> str:
        return await self.only.echo(text)

    @svcd.api
    async def fail(self) -> str:
        try:
            return await self.only.echo(7)
        except svcd.InvalidArgument as error:
            return type(error).__name__
"""
TESTS = (
    *("tests/unit/ipc", "tests/properties/ipc", "tests/fuzz/test_corpus.py"),
    *(f"tests/unit/worker/test_{name}.py" for name in WORKER),
)
LOOK = """
import importlib, json
from svcd.worker import kind
names = ("svcd_ipc.frames", "svcd_ipc.connection", "svcd_ipc.reader", "svcd.worker.serve", "svcd.worker.choice")
loaded = [importlib.import_module(name).__spec__.origin for name in names]
print(json.dumps({"kind": kind.KIND, "why": kind.PURE, "loaded": loaded}))
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of both packages with their core compiled, in a folder for PYTHONPATH."""
    if compiler() is None or not HEADERS.exists():
        pytest.skip("no C compiler, or no headers of this Python (install gcc and python3-dev)")
    tree = tmp_path_factory.mktemp("compiled")
    for package in (ROOT / "ipc" / "svcd_ipc", ROOT / "supervisor" / "svcd"):
        shutil.copytree(package, tree / package.name, ignore=shutil.ignore_patterns("compiled", "__pyc*"))
    built = run(ROOT / "packaging" / "compile_core.py", tree / "made", "0")
    assert built.returncode == 0, built.stdout
    for package, made in COMPILED.items():
        (tree / "made" / package).rename(tree / made)
    return tree


def run(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "SVCD_PURE"} | variables
    command = [sys.executable, *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def core_in(tree: Path, **variables: str) -> dict[str, Any]:
    """Which core a new process takes, and from where it loads two of its modules."""
    found = run("-c", LOOK, PYTHONPATH=str(tree), **variables)
    assert found.returncode == 0, found.stdout
    told: dict[str, Any] = json.loads(found.stdout)
    return told


@pytest.mark.compiler
@pytest.mark.timeout(600)  # of a machine that has much else to do
def test_it_passes_the_tests_of_the_source(tree: Path) -> None:
    assert core_in(tree)["kind"] == "compiled"
    done = run("-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *TESTS, PYTHONPATH=str(tree))
    assert done.returncode == 0, done.stdout


def test_nothing_in_it_waits() -> None:
    made = run_path(str(ROOT / "packaging" / "compile_core.py"))
    sources = [
        made["folder_of"](package) / f"{name}.py" for package, names in made["MODULES"].items() for name in names
    ]
    trees = {source.name: ast.parse(source.read_text()) for source in sources}
    assert not [
        name for name, tree in trees.items() if any(isinstance(n, ast.AsyncFunctionDef) for n in ast.walk(tree))
    ]


@pytest.mark.compiler
@pytest.mark.timeout(600)
def test_all_of_it_is_used_or_none(tree: Path, tmp_path: Path) -> None:
    compiled = {tree / made for made in COMPILED.values()}
    told = core_in(tree)
    assert (told["kind"], told["why"]) == ("compiled", "")
    assert {Path(origin).parent for origin in told["loaded"]} == compiled

    told = core_in(tree, SVCD_PURE="1")
    assert (told["kind"], told["why"]) == ("pure", "SVCD_PURE is set")
    assert all(Path(origin).suffix == ".py" for origin in told["loaded"])

    changed = tmp_path / "svcd_ipc"
    shutil.copytree(tree / "svcd_ipc", changed)
    with (changed / "codec.py").open("a") as source:
        source.write("# changed\n")
    told = core_in(tmp_path)
    assert told["kind"] == "pure"
    assert told["why"] == f"{changed / 'codec.py'} has changed since it was compiled; make native"
    assert all(Path(origin).suffix == ".py" for origin in told["loaded"])

    shutil.rmtree(changed / "compiled")
    assert core_in(tmp_path)["why"] == "not compiled for this interpreter"


@pytest.mark.compiler
@pytest.mark.timeout(600)
def test_a_service_layer_that_has_changed_runs_pure_on_a_compiled_channel(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "svcd_ipc").symlink_to(tree / "svcd_ipc")
    shutil.copytree(tree / "svcd", tmp_path / "svcd")
    with (tmp_path / "svcd" / "worker" / "choice.py").open("a") as source:
        source.write("# changed\n")
    told = core_in(tmp_path)
    assert told["kind"] == "pure"
    assert told["why"] == f"{tmp_path}/svcd/worker/choice.py has changed since it was compiled; make native"
    assert [Path(origin).suffix for origin in told["loaded"]] == [".so", ".so", ".so", ".py", ".py"]


@pytest.mark.compiler
@pytest.mark.timeout(600)
def test_an_app_runs_compiled(tree: Path, make_app: MakeApp) -> None:
    app = make_app(CHAIN, entry="Chain", env={"SVCD_PURE": "", "PYTHONPATH": str(tree)}).up()
    told = json.loads(app.svcd("status", "--json").stdout)
    assert {replica["core"] for each in told["services"] for replica in each["replicas"]} == {"compiled"}
    assert app.post("echo", {"text": "there and back"}) == (200, b"there and back")
    assert app.post("fail", {}) == (200, b"InvalidArgument")


def test_a_replica_says_which_core_it_runs(make_app: MakeApp) -> None:
    app = make_app(SERVICE, entry="Only", env={"SVCD_PURE": "1"}).up()
    told = json.loads(app.svcd("status", "--json").stdout)
    cores = {each["service"]: [replica["core"] for replica in each["replicas"]] for each in told["services"]}
    assert cores["Only"] == ["pure"]
    assert all(set(found) == {"pure"} for found in cores.values())
    assert app.svcd("env", "Only").stdout.count("SVCD_PURE=1") == 1
