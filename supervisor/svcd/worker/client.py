"""A process's routes: one per service that it calls, fed by the daemon over the control channel."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from svcd.values.boot import Address
from svcd.worker.route import Route
from svcd.worker.urls import Urls

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@dataclass(frozen=True, slots=True)
class Demand:
    """Calls of this process."""

    updates: int
    """How often the daemon had spoken by then: a new one has to be told again."""
    calls: dict[str, int]
    """In flight and waiting, by service; those without any are left out."""


class Client:
    """Makes and feeds routes. Connections live in the nursery given.

    Args:
        nursery: Where connections and their tasks run; cancelling it ends them all.
        identity: What this process says of itself in each hello, such as `{"service": "Entry", "replica": 0}`.
        clock: CLOCK_MONOTONIC.
    """

    def __init__(
        self, nursery: trio.Nursery, identity: Mapping[str, Any], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._nursery = nursery
        self._identity = identity
        self._clock = clock
        self._routes: dict[str, Route] = {}
        self._urls: dict[str, Urls] = {}
        self._told: dict[str, dict[str, Any]] = {}
        self._updates = 0
        self.is_asked = trio.Event()
        """Set while the daemon wants to know of the calls to some service."""

    def __repr__(self) -> str:
        return f"<Client {list(self._routes.values())}>"

    def route(self, service: str, *, default_timeout: float = 60.0, max_queue: int = 1024) -> Route:
        """Return the route to a service; there is one for all who call it from this process."""
        route = self._routes.get(service)
        if route is None:
            route = self._routes[service] = Route(
                service,
                nursery=self._nursery,
                identity=self._identity,
                default_timeout=default_timeout,
                max_queue=max_queue,
                clock=self._clock,
            )
            if service in self._told:
                self._feed(route)
        return route

    def urls(self, service: str) -> Urls:
        """Return where a program takes connections."""
        return self._urls.setdefault(service, Urls(service))

    def update(self, services: dict[str, dict[str, Any]]) -> None:
        """Take the daemon's `routes`, all of them, as `{NAME: ROUTE}`; see `runtime.service.Service.route`."""
        self._told = services
        for name, urls in self._urls.items():
            if told := services.get(name):
                urls.update(told["state"], told.get("reason"), told.get("urls", ()))
        self._updates += 1
        if not any(told.get("scales") for told in services.values()):
            self.is_asked = trio.Event()
        else:
            self.is_asked.set()
        for route in self._routes.values():
            self._feed(route)

    def demand(self) -> Demand:
        """Count the calls to the services that the daemon asks about."""
        asked = [route for name, route in self._routes.items() if self._told.get(name, {}).get("scales")]
        return Demand(self._updates, {route.service: route.calls for route in asked if route.calls})

    def _feed(self, route: Route) -> None:
        told = self._told.get(route.service)
        if told is None:
            route.update("stopped", "the daemon names no such service", {})
        else:
            replicas = {str(id_): Address(*where) for id_, *where in told["replicas"]}
            route.update(told["state"], told.get("reason"), replicas)
