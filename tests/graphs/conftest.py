"""The ways in which an app can be run, each as a driver. Apps are kept running for the cases that share them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import graph_shapes
import pytest

import svcd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from graph_table import Driver

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
    with svcd.local(getattr(graph_shapes, app)) as running:
        yield LocalDriver(running)


WAYS = {"local": run_locally}
"""Name -> context manager that takes the name of an entry class of graph_shapes.py and gives a driver."""


@pytest.fixture(scope="module", params=list(WAYS))
def running(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Driver]]:
    """Give a function from the name of an app to its driver; each app is started once."""
    drivers: dict[str, Driver] = {}
    with ExitStack() as stack:

        def start(app: str) -> Driver:
            if app not in drivers:
                drivers[app] = stack.enter_context(WAYS[request.param](app))
            return drivers[app]

        yield start
