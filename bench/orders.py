"""What a run measures: which orders each contender gets at which place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from load import Order

if TYPE_CHECKING:
    from contenders import Contender

IN_FLIGHT = (1, 8, 64, 256)
SIZES = (1_000, 16_000, 256_000, 4_000_000, 64_000_000)
"""Bytes of the arrays."""
CONNECTIONS = (1, 32)
HOPS = (1, 2, 4, 8)
REPLICAS = (1, 10, 100)
MANY_CALLS = 340_000
"""With 64 in flight for svcd; three rounds make a million."""
ALONE = "all cores"
"""Where what takes long is measured."""


def orders(contender: Contender, place: str, *, quick: bool) -> list[Order]:
    """Return what is asked of one contender in one round."""
    seconds = 0.4 if quick else 2.0
    if contender.kind == "shape":
        return _shape(contender, seconds, quick=quick)
    if contender.kind == "work":
        copies = [Order("memcpy", size=size, seconds=seconds / 3) for size in SIZES]
        return copies + [Order("array", size=size, seconds=seconds / 3) for size in SIZES]
    if contender.kind == "http":
        return [Order("small", count, 50_000, seconds * 2) for count in CONNECTIONS]
    if contender.name == "app_spin":  # which is for lone calls
        return [_small(contender, 1, seconds, quick=quick)]
    asked = [_small(contender, count, seconds, quick=quick) for count in IN_FLIGHT]
    if place == ALONE and not contender.is_compiled:
        asked += [Order("array", size=size, calls=5_000, seconds=seconds / 2) for size in SIZES]
    if contender.name in ("app", "app_compiled"):
        asked += [Order("sync", seconds=seconds), Order("stream", seconds=seconds)]
        if place == ALONE and not contender.is_compiled:
            asked += [Order("empty", size=size, seconds=seconds / 3) for size in SIZES]
    return asked


def _small(contender: Contender, in_flight: int, seconds: float, *, quick: bool) -> Order:
    if in_flight == 64 and contender.name in ("floor", "channel", "app") and not quick:
        return Order("small", in_flight, MANY_CALLS, 60.0)
    return Order("small", in_flight, 10_000 if in_flight == 1 else 50_000, seconds)


def _shape(contender: Contender, seconds: float, *, quick: bool) -> list[Order]:
    replicas = (1, 3) if quick else REPLICAS
    chains = [Order("chain", calls=5_000, seconds=seconds, target=str(hops)) for hops in HOPS]
    if contender.name == "floor_chain":
        return chains
    return chains + [Order("many", calls=5_000, seconds=seconds, target=str(count)) for count in replicas]
