"""The pictures of a run: which rows go into which chart."""

from __future__ import annotations

from math import ceil, floor, log10
from typing import TYPE_CHECKING

from contenders import CONTENDERS
from svg import Axis, Chart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from figures import Row
    from svg import Point

ALONE = "all cores"
_TITLES = {each.name: each.title for each in CONTENDERS}
_HOPS = [each.name for each in CONTENDERS if each.kind == "hop"]
_HTTP = [each.name for each in CONTENDERS if each.kind == "http"]


def charts(rows: list[Row]) -> dict[str, Chart]:
    """Return the charts for which there are figures, by name of file."""
    made = {
        "latency": _latencies("Small call, 1 in flight, all cores", _of(rows, _HOPS, "small", in_flight=1)),
        "throughput": _rates(_of(rows, _HOPS, "small")),
        "payload": _payloads(rows),
        "depth": _shape("One call down a chain, all cores", "hops", _of(rows, ["app_shape", "floor_chain"], "chain")),
        "replicas": _shape("Small call by replicas of the callee", "replicas", _of(rows, ["app_shape"], "many")),
        "http": _latencies("HTTP, 1 connection, all cores", _of(rows, _HTTP, "small", in_flight=1)),
    }
    return {name: chart for name, chart in made.items() if chart is not None}


def _of(rows: list[Row], names: list[str], what: str, in_flight: int | None = None) -> list[Row]:
    found = [row for row in rows if row.key.contender in names and row.key.what == what and row.key.place == ALONE]
    return [row for row in found if row.quantiles and in_flight in (None, row.key.in_flight)]


def _latencies(title: str, rows: list[Row]) -> Chart | None:
    if not rows:
        return None
    series = [(_TITLES[row.key.contender], [(p, time) for p, time in row.quantiles if p >= 1]) for row in rows]
    percents = [(1, "1"), (50, "50"), (90, "90"), (99, "99"), (99.9, "99.9"), (99.99, "99.99")]
    x = Axis("percentile", percents, lambda percent: -log10(1 - percent / 100))
    return Chart(title, x, _logarithmic("µs", _ys(series), _time), series)


def _rates(rows: list[Row]) -> Chart | None:
    series = _by_contender(rows, lambda row: (row.key.in_flight, row.calls_per_second))
    if not series:
        return None
    x = Axis("calls in flight", [(n, str(n)) for n in sorted({row.key.in_flight for row in rows})], log10)
    return Chart("Small calls per second, all cores", x, _logarithmic("calls/s", _ys(series), _count), series)


def _payloads(rows: list[Row]) -> Chart | None:
    hops = _by_contender(_of(rows, [*_HOPS, "one_process"], "array"), lambda row: (row.key.size, row.p50))
    empty = _by_contender(_of(rows, ["app"], "empty"), lambda row: (row.key.size, row.p50))
    series = hops + [(f"{name}, svcd.empty", points) for name, points in empty]
    if not hops:
        return None
    sizes = sorted({x for _, points in series for x, _ in points})
    x = Axis("bytes of the array", [(size, _bytes(size)) for size in sizes], log10)
    return Chart("Array there, plus one, and back", x, _logarithmic("µs", _ys(series), _time), series)


def _shape(title: str, label: str, rows: list[Row]) -> Chart | None:
    if not rows:
        return None
    is_chain = label == "hops"
    counts = sorted({int(row.key.target) for row in rows})
    found = _by_contender(
        rows, lambda row: (int(row.key.target), row.p50 / int(row.key.target) if is_chain else row.p50)
    )
    series = [(f"{name}, p50 per hop" if is_chain else f"{name}, p50", points) for name, points in found]
    top = max(_ys(series))
    step = 10 ** floor(log10(top))
    ticks = [(step * n, _time(step * n)) for n in range(ceil(top / step) + 1)]
    return Chart(
        title, Axis(label, [(n, str(n)) for n in counts], log10), Axis("µs", ticks, lambda value: value), series
    )


def _by_contender(rows: list[Row], point: Callable[[Row], Point]) -> list[tuple[str, list[Point]]]:
    names = dict.fromkeys(row.key.contender for row in rows)
    return [(_TITLES[name], sorted(point(row) for row in rows if row.key.contender == name)) for name in names]


def _ys(series: Iterable[tuple[str, list[Point]]]) -> list[float]:
    return [y for _, points in series for _, y in points]


def _logarithmic(label: str, values: list[float], text: Callable[[float], str]) -> Axis:
    low, high = floor(log10(min(values))), ceil(log10(max(values)))
    return Axis(label, [(10.0**n, text(10.0**n)) for n in range(low, max(high, low + 1) + 1)], log10)


def _time(micros: float) -> str:
    if micros < 1000:
        return f"{micros:g} µs"
    return f"{micros / 1000:g} ms" if micros < 1e6 else f"{micros / 1e6:g} s"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _bytes(size: float) -> str:
    return f"{size / 1e6:g} MB" if size >= 1e6 else f"{size / 1e3:g} kB"
