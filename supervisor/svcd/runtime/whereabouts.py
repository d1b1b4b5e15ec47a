"""Where the processes of an app take calls, and what their callers are told of that: the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from svcd.host.pulses import read_pulse
from svcd.policy.order import callees
from svcd.values.pulse import beside

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.runtime.programs import Programs
    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service
    from svcd.values.boot import Address
    from svcd.values.pulse import Pulse
    from svcd.values.specs import AppSpec


class Whereabouts:
    """Those of all services; of programs as URLs."""

    def __init__(self, spec: AppSpec, services: Mapping[str, Service], programs: Programs) -> None:
        """services: by the name of a service, members of groups too, the unit that it runs in."""
        self._spec = spec
        self._services = services
        self._programs = programs
        self._addresses: dict[str, Mapping[str, Address]] = {}
        """By process id, then by service."""

    def __repr__(self) -> str:
        """How many processes are known."""
        return f"<Whereabouts of {len(self._addresses)} processes>"

    def keep(self, process_id: str, addresses: Mapping[str, Address]) -> None:
        """Remember where a process takes calls, by service."""
        self._addresses[process_id] = addresses

    def forget(self, process_id: str) -> None:
        """Send nobody there any longer."""
        self._addresses.pop(process_id, None)

    def of(self, replica: Replica) -> Mapping[str, Address]:
        """Where the replica's present process takes calls, by service; nowhere while it has none."""
        return self._addresses.get(replica.process_id, {})

    def pulse(self, replica: Replica) -> Pulse | None:
        """What the replica's present process last noted of itself."""
        addresses = self.of(replica)
        return read_pulse(beside(next(iter(addresses.values())).path)) if addresses else None

    def routes(self, caller: str) -> dict[str, Any]:
        """Routes of everything that the services of the unit `caller` may call in other processes."""
        within = self._services[caller].spec.all
        names = {name for service in within for name in callees(self._spec.services[service.name])}
        outside = sorted(names - {service.name for service in within})
        return {name: self._route(name) for name in outside}

    def _route(self, name: str) -> dict[str, Any]:
        unit, route = self._services[name], self.route_to(name)
        return route | {"urls": self.urls(unit)} if unit.spec.command else route

    def route_to(self, service: str) -> dict[str, Any]:
        """Route of one service, for a caller that is none of the app's."""
        return self._services[service].route(service, self._addresses)

    def urls(self, unit: Service) -> list[str]:
        """Where the replicas of a program that are ready take connections; none for a class."""
        return self._programs.urls(unit.ready) if unit.spec.command else []
