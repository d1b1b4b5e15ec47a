"""The app that the fault table is shown with, and the strikes that its replicas get while requests come steadily."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from svcd.measure.chaos import Plan, run

if TYPE_CHECKING:
    from running import RunningApp

SECONDS = float(os.environ.get("SVCD_FAULT_SECONDS", "5"))
"""How long each fault goes on; `make faults` has 60."""
RATE = 350.0 if SECONDS >= 60 else 60.0
"""Requests per second: more than 20,000 in the long run."""
SEED = int(os.environ.get("SVCD_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)

SERVICE = (Path(__file__).parents[2] / "bench" / "faults_services.py").read_text()
TWO_OF_EACH = """
    [services.Work]
    scaling = { min_replicas = 2, max_replicas = 2 }
    [services.Entry]
    scaling = { min_replicas = 2, max_replicas = 2 }
"""


@dataclass(frozen=True, slots=True)
class Struck:
    """One replica that was struck; `at` is of CLOCK_MONOTONIC, the others are seconds after it."""

    replica: str
    generation: int
    at: float
    noticed: float | None
    back: float | None

    @property
    def process(self) -> str:
        """As errors name it."""
        return f"{self.replica}#{self.generation}"


def strike(app: RunningApp, fault: str, *services: str, every: float = 1.0, seconds: float = SECONDS) -> list[Struck]:
    """Break replicas as `svcd chaos` does; return whom, once all are ready again."""
    begins: list[float] = []
    plan = Plan(fault, services, every=every, seconds=seconds, seed=SEED, settle=60.0)
    figures: dict[str, Any] = run(
        app.runtime / "control.sock", plan, lambda at, _text: begins.append(time.monotonic() - at)
    )
    assert figures["lacking"] == []
    began = min(begins)
    return [
        Struck(each["replica"], each["generation"], began + each["at"], each["noticed"], each["back"])
        for each in figures["strikes"]
    ]
