"""The ratios that svcd is held to, from the rows of one run. Nothing else asserts them: machines differ, and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from figures import Row

ONE, ALL = "one core", "all cores"
LARGE = 64_000_000


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure and its bound."""

    what: str
    value: float
    bound: float
    is_least: bool = False
    """The bound is a lower one."""
    unit: str = "x"

    @property
    def is_reached(self) -> bool:
        """Tell whether the bound holds."""
        return self.value >= self.bound if self.is_least else self.value <= self.bound

    @property
    def goal(self) -> str:
        """Return the bound for people."""
        return f"{'at least' if self.is_least else 'at most'} {_number(self.bound, self.unit)}"

    def shown(self) -> str:
        """Return the figure for people."""
        return _number(self.value, self.unit)


def ratios(rows: list[Row]) -> list[Ratio]:
    """Return those for which there are figures."""
    found = _Rows(rows)
    return [*_small(found), *_peers(found), *_large(found), *_others(found), *_shape(found), *_http(found)]


class _Rows:
    """Rows by what they are of."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = {
            (row.key.contender, row.key.place, row.key.what, row.key.in_flight, row.key.size, row.key.target): row
            for row in rows
            if row.quantiles
        }

    def __call__(
        self, who: str, place: str = ALL, what: str = "small", in_flight: int = 1, size: int = 0, target: str = ""
    ) -> Row | None:
        return self._rows.get((who, place, what, in_flight, size, target))


_OURS = (
    ("channel", "svcd channel"),
    ("channel_compiled", "svcd channel, compiled"),
    ("app", "svcd"),
    ("app_compiled", "svcd, compiled"),
    ("app_spin", "svcd, spin"),
)


def _small(found: _Rows) -> list[Ratio]:
    result = []
    for place, bound in ((ONE, 2.0), (ALL, 1.5)):
        for who, name in _OURS:
            ours, floor = found(who, place), found("floor", place)
            if ours and floor:
                result.append(Ratio(f"{name}, small call, {place}: p50 / floor", ours.p50 / floor.p50, bound))
                result.append(Ratio(f"{name}, small call, {place}: p99 / floor p99", ours.p99 / floor.p99, 3.0))
    for place, calls in ((ONE, 60_000), (ALL, 100_000)):
        for who, name in _OURS:
            if ours := found(who, place, in_flight=64):
                what = f"{name}, 64 in flight, {place}"
                result.append(Ratio(what, ours.calls_per_second, calls, is_least=True, unit="/s"))
                result.append(Ratio(f"{what}: lost of {ours.calls:,}", ours.lost, 0, unit=""))
    return result


def _peers(found: _Rows) -> list[Ratio]:
    result = []
    for who, name, least in (
        ("bento", "BentoML", 15),
        ("ray_serve", "Ray Serve", 30),
        ("grpc_aio", "grpc.aio", 6),
        ("zmq_asyncio", "pyzmq", 1.5),
    ):
        ours, theirs = found("app"), found(who)
        if ours and theirs:
            result.append(Ratio(f"small call, p50: {name} / svcd", theirs.p50 / ours.p50, least, is_least=True))
    return result


def _large(found: _Rows) -> list[Ratio]:
    result = []
    ours = found("app", what="array", size=LARGE)
    work, copy = found("one_process", what="array", size=LARGE), found("one_process", what="memcpy", size=LARGE)
    if ours and work and copy:
        net = (ours.p50 - 2 * copy.p50) / work.p50
        result.append(Ratio("64 MB there and back, less one memcpy each way / the same in one process", net, 1.05))
    if ours and ours.first:
        result.append(Ratio("64 MB: first / later", ours.first / ours.p50, 3.0))
    empty, small = found("app", what="empty", size=LARGE), found("app")
    if empty and small:
        result.append(Ratio("64 MB built with svcd.empty, one number back / small call", empty.p50 / small.p50, 3.0))
    return result


def _others(found: _Rows) -> list[Ratio]:
    result = []
    sync, small, stream = found("app", what="sync"), found("app"), found("app", what="stream")
    if sync and small:
        result.append(Ratio("sync api / async api, p50", sync.p50 / small.p50, 1.8))
    if stream and stream.items_per_second:
        result.append(Ratio("stream, small items", stream.items_per_second, 150_000, is_least=True, unit="/s"))
    return result


def _shape(found: _Rows) -> list[Ratio]:
    result = []
    alone, deep = (found("app_shape", what="chain", target=hops) for hops in ("1", "8"))
    if alone and deep:
        result.append(Ratio("per hop: a chain of 8 / of 1", deep.p50 / 8 / alone.p50, 1.2))
    for count in ("10", "100"):
        one, many = found("app_shape", what="many", target="1"), found("app_shape", what="many", target=count)
        if one and many:
            result.append(Ratio(f"small call: {count} replicas / 1", many.p50 / one.p50, 1.2))
    return result


def _http(found: _Rows) -> list[Ratio]:
    result = []
    for connections in (1, 32):
        ours = found("app_http", in_flight=connections)
        for who, name, least in (("hypercorn_http", "bare hypercorn", 0.8), ("bento_http", "BentoML", 2.0)):
            theirs = found(who, in_flight=connections)
            if ours and theirs:
                value = ours.calls_per_second / theirs.calls_per_second
                text = f"HTTP, {connections} connections, requests/s: svcd / {name}"
                result.append(Ratio(text, value, least, is_least=True))
    return result


def _number(value: float, unit: str) -> str:
    return f"{value:,.2f} x" if unit == "x" else f"{value:,.0f}{unit}"
