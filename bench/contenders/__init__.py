"""Who is compared: the name of each contender's module, what it needs installed, and what it can be asked for.

A module has one class, `Session`: a context that starts servers and ends them, with `up` (seconds that the start took)
and `measure(order)`, which returns a sample as JSON has it.
"""

from __future__ import annotations

from dataclasses import dataclass

EVERYWHERE, ONE_CORE = ("one core", "all cores"), ("one core",)
"""Where a contender runs. Frameworks of many processes have no place on one core."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of those compared."""

    name: str
    """Of its module."""
    title: str
    """In tables and plots."""
    needs: tuple[str, ...] = ()
    """Modules that only the peers' environment has."""
    places: tuple[str, ...] = ("all cores",)
    kind: str = "hop"
    """`hop` between two processes, `http` to one service, `work` that is done in one process, or `shape`: many hops."""
    is_compiled: bool = False
    """Whether svcd runs its compiled core (`make native`); it runs the pure one otherwise, compiled or not."""


CONTENDERS = (
    Contender("one_process", "one process", kind="work"),
    Contender("floor", "floor", places=EVERYWHERE),
    Contender("channel", "svcd channel", places=EVERYWHERE),
    Contender("channel_compiled", "svcd channel, compiled", places=EVERYWHERE, is_compiled=True),
    Contender("app", "svcd", places=EVERYWHERE),
    Contender("app_compiled", "svcd, compiled", places=EVERYWHERE, is_compiled=True),
    Contender("app_spin", "svcd, spin"),
    Contender("app_shape", "svcd", kind="shape"),
    Contender("floor_chain", "floor", kind="shape"),
    Contender("zmq_asyncio", "pyzmq", ("zmq",), EVERYWHERE),
    Contender("grpc_aio", "grpc.aio", ("grpc",), EVERYWHERE),
    Contender("bento", "BentoML", ("bentoml",)),
    Contender("ray_serve", "Ray Serve", ("ray.serve",)),
    Contender("hypercorn_http", "hypercorn", kind="http"),
    Contender("app_http", "svcd", kind="http"),
    Contender("bento_http", "BentoML", ("bentoml",), kind="http"),
    Contender("ray_http", "Ray Serve", ("ray.serve",), kind="http"),
)
