"""Fits the number of replicas to the calls that callers have in flight and waiting; see policy/autoscaling.py.

Every process that calls a service which may have more replicas than its least reports its calls when they change.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio

from svcd.policy.autoscaling import Bounds, Scaler, decide

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from svcd.policy.autoscaling import Decision
    from svcd.runtime.service import Service
    from svcd.values.specs import ServiceSpec


class Autoscaler:
    """Decides for all units. `scale` is told of each decision."""

    def __init__(self, units: Mapping[str, Service], scale: Callable[[Service, Decision], None]) -> None:
        self._scale = scale
        self._scalers = {
            name: (unit, {each.name: Scaler(_bounds(each)) for each in unit.spec.all})
            for name, unit in units.items()
            if unit.scales
        }
        self._calls: dict[str, Mapping[str, int]] = {}
        """Of each process: service -> its calls in flight and waiting."""
        self._news = trio.Event()

    def __repr__(self) -> str:
        """What it decides for."""
        return f"<Autoscaler {', '.join(self._scalers) or 'of nothing'}>"

    def report(self, process_id: str, calls: Mapping[str, int]) -> None:
        """Take what a process says of its calls; of one that has ended, nothing."""
        before = self._calls.pop(process_id, {})
        if calls:
            self._calls[process_id] = calls
        changed = {name for name in before.keys() | calls.keys() if before.get(name, 0) != calls.get(name, 0)}
        now = trio.current_time()
        for unit, scalers in self._scalers.values():
            for name in changed & scalers.keys():
                scalers[name].note(sum(each.get(name, 0) for each in self._calls.values()), now)
                self._fit(unit, scalers)
        self._news.set()

    async def run(self) -> None:
        """Give up what is not needed any more, until cancelled."""
        while True:
            self._news = trio.Event()
            looks = [scaler.next_look for _, scalers in self._scalers.values() for scaler in scalers.values()]
            with trio.move_on_at(min(looks, default=inf)):
                await self._news.wait()
            for unit, scalers in self._scalers.values():
                for scaler in scalers.values():
                    scaler.pass_by(trio.current_time())
                self._fit(unit, scalers)

    def _fit(self, unit: Service, scalers: Mapping[str, Scaler]) -> None:
        if unit.is_fixed:
            return
        decision = decide([*scalers.values()], unit.wanted)
        if decision is not None:
            self._scale(unit, decision)


def _bounds(spec: ServiceSpec) -> Bounds:
    return Bounds(
        least=spec.scaling.min_replicas,
        most=spec.scaling.max_replicas,
        target=spec.traffic.concurrency or spec.traffic.max_concurrency,
        window=spec.scaling.down_after,
    )
