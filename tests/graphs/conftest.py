"""The ways in which an app can be run, each as a driver. Apps are kept running for the cases that share them."""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

import graph_shapes
import pytest
from graph_shapes.houses import HOUSES

import svcd
from running import PATIENCE, RunningApp
from svcd.app.graph import build
from svcd.link.blocking import BlockingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph_table import Driver

    from svcd.app.graph import Graph

pytest.register_assert_rewrite("graph_table")


class LocalDriver:
    """An app under `with svcd.local`."""

    def __init__(self, app: Any) -> None:
        self._app = app

    def call(self, service: str, api: str, /, **args: Any) -> Any:
        return getattr(self._app[service], api)(**args)

    def stream(self, service: str, api: str, /, **args: Any) -> list[Any]:
        items: list[Any] = []
        try:
            items.extend(self.call(service, api, **args))
        except svcd.CallError as error:
            error.items = items
            raise
        return items


@contextmanager
def run_locally(app: str) -> Iterator[LocalDriver]:
    with svcd.local(service_of(app)) as running:
        yield LocalDriver(running)


class UpDriver:
    """The same app under a real `svcd up`; calls go straight to a replica of the service, as other services' do."""

    def __init__(self, app: RunningApp) -> None:
        self._app = app
        self.url = app.url

    def call(self, service: str, api: str, /, **args: Any) -> Any:
        with self._replica(service) as replica:
            return replica.call(api, args, timeout=PATIENCE)

    def stream(self, service: str, api: str, /, **args: Any) -> list[Any]:
        items: list[Any] = []
        with self._replica(service) as replica:
            try:
                items.extend(replica.stream(api, args, timeout=PATIENCE))
            except svcd.CallError as error:
                error.items = items
                raise
        return items

    def _replica(self, service: str) -> BlockingClient:
        with BlockingClient(self._app.runtime / "control.sock", {"role": "cli"}) as daemon:
            found = daemon.call("where", {"service": service}, timeout=PATIENCE)
        return BlockingClient(found["socket"], {"role": "test", "secret": found["secret"]})


@contextmanager
def run_up(app: str, *colocated: list[str]) -> Iterator[UpDriver]:
    """Run each service in a process of its own, but for those that are colocated."""
    folder = Path(tempfile.mkdtemp(prefix="svcd-graph-"))
    try:
        entry = service_of(app)
        _copy_module(entry.__module__, folder)
        place = f"{entry.__module__}:{entry.__name__}"
        toml = f'[app]\nservice = "{place}"\nhttp = "127.0.0.1:0"\ncolocate = {json.dumps(colocated)}\n'
        (folder / "svcd.toml").write_text(toml)
        with RunningApp(folder) as running:
            running.up()
            pids = {row["service"]: row["pid"] for row in running.rows()}
            assert [len({pids[name] for name in group}) for group in colocated] == [1] * len(colocated)
            yield UpDriver(running)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy_module(module: str, folder: Path) -> None:
    """Copy a module of this folder, or the package that it is of."""
    source = Path(__file__).parent / module.partition(".")[0]
    if source.is_dir():
        shutil.copytree(source, folder / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source.with_suffix(".py"), folder)


@contextmanager
def run_colocated(app: str) -> Iterator[UpDriver]:
    """Run all services in one process, but for those that cannot share it."""
    with run_up(app, *groups_of(build([service_of(app)]))) as driver:
        yield driver


def groups_of(graph: Graph) -> list[list[str]]:
    """The services of each backend; those that call one of another backend, directly or not, are left out.

    Else two groups could need each other.
    """
    backends: dict[str, set[str]] = {}
    for name, node in graph.nodes.items():  # callees come first
        backends[name] = {node.declaration.config.get("async_backend", "trio")}
        backends[name].update(*(backends[edge.node.name] for edge in node.edges.values() if edge.node))
    groups = ([name for name, below in backends.items() if below == {backend}] for backend in ("trio", "asyncio"))
    return [group for group in groups if len(group) > 1]


WAYS = {"local": run_locally, "up": run_up, "colocated": run_colocated}
"""Name -> context manager that takes an entry class, of graph_shapes or as `module:Class`, and gives a driver."""


def service_of(app: str) -> type:
    """Return an entry class by its name."""
    module, _, name = app.rpartition(":")
    modules = [module] if module else [found.name for found in iter_modules(graph_shapes.__path__, "graph_shapes.")]
    found: type = next(vars(place)[name] for place in map(import_module, modules) if name in vars(place))
    return found


@pytest.fixture(scope="module", params=list(WAYS))
def running(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Driver]]:
    """Give a function from the name of an app to its driver; each is started once, where that costs with others."""
    drivers: dict[str, Driver] = {}
    with ExitStack() as stack:

        def start(app: str) -> Driver:
            if request.param != "local":
                app = HOUSES.get(app, app)
            if app not in drivers:
                drivers[app] = stack.enter_context(WAYS[request.param](app))
            return drivers[app]

        yield start
