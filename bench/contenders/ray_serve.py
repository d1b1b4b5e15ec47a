"""Ray Serve: one deployment that calls another by its handle."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ray
from ray import serve

from contenders import http_client
from contenders.servers import BENCH, free_port

sys.path.insert(0, str(Path(__file__).parents[1]))

import array_work
from load import ARGUMENTS, Order, loop_on_asyncio

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
class Echo:
    """The callee."""

    async def small(self, text: str, number: int) -> dict[str, Any]:
        """Return the arguments."""
        return {"text": text, "number": number}

    async def plus_one(self, array: Any, expected: int) -> Any:
        """Check, and return a new array."""
        return array_work.plus_one(array, expected)


@serve.deployment(max_ongoing_requests=1024, ray_actor_options={"num_cpus": 0})
class Caller:
    """Calls Echo, and is what HTTP is measured with."""

    def __init__(self, echo: DeploymentHandle) -> None:
        self._echo = echo

    async def __call__(self, request: Any) -> Any:
        """Answer HTTP without a hop further."""
        return await request.json()

    async def measure(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry out an order."""
        what = Order(**order)
        array, expected = array_work.make(what.size)

        async def small() -> bool:
            return bool(await self._echo.small.remote(**ARGUMENTS) == ARGUMENTS)

        async def plus_one() -> bool:
            answer = await self._echo.plus_one.remote(array=array, expected=expected)
            return array_work.is_plus_one(answer, array, expected)

        return (await loop_on_asyncio(plus_one if what.what == "array" else small, what)).plain()


class Session:
    """A Ray of its own on this machine, started and stopped by this process."""

    up: float

    def __enter__(self) -> Self:
        began = time.perf_counter()
        self.port = free_port()
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        ray.init(
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env={"env_vars": {"PYTHONPATH": str(BENCH)}},
        )
        serve.start(http_options={"host": "127.0.0.1", "port": self.port})
        self._handle = serve.run(Caller.bind(Echo.bind()), name="bench", route_prefix="/")
        while not http_client.is_serving(f"http://127.0.0.1:{self.port}/"):
            time.sleep(0.002)
        self.up = time.perf_counter() - began
        return self

    def __exit__(self, *exc: object) -> None:
        serve.shutdown()
        ray.shutdown()

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small` and `array`."""
        sample: dict[str, Any] = self._handle.measure.remote(asdict(order)).result()
        return sample
