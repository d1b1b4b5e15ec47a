"""Measure one hop between two local processes: svcd's against the floor, in one run.

The floor is two blocking processes, one Unix socket and msgpack: what the machine allows. Absolute times move with the
machine, so the ratios are what counts. The contenders take turns over several rounds, each time in fresh processes,
both pinned to one core or free over all, with 1 and with 64 calls in flight.

    python bench/hop.py [--quick] [--json FILE] [--rounds N] [--only PLACE] [--in-flight N] [--compiled]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from contenders import CONTENDERS as ALL
from load import Order
from run import missing, take_turn

CONTENDERS = {"floor": "floor", "svcd": "channel", "compiled": "channel_compiled"}
"""Name here -> module in contenders. `svcd` is the pure core; the compiled one is compared where that is asked for."""
PLACES = ("one core", "free")
IN_FLIGHT = (1, 64)
CALLS = {1: 10_000, 64: 34_000}
"""Calls per round; three rounds at both places make 200,000 with 64 in flight."""
ROUNDS = 3
QUICK = 5
"""A quick run makes this many times fewer calls, in one round."""
LIMIT = 120.0
"""Seconds within which one client's calls are begun."""

_MODULES = {each.name: each for each in ALL}


@dataclass(frozen=True, slots=True)
class Row:
    """What all rounds of one contender gave in one setting. Times in microseconds; medians over the rounds."""

    place: str
    in_flight: int
    contender: str
    p50: float
    p99: float
    calls_per_second: float
    calls: int
    lost: int


@dataclass(frozen=True, slots=True)
class Round:
    """One client's figures, times in microseconds."""

    p50: float
    p99: float
    calls_per_second: float
    calls: int
    lost: int


def measure(contender: str, place: str, in_flight: int, calls: int) -> Round:
    """Start a server and a client, and return what the client saw."""
    order = Order("small", in_flight, calls, LIMIT)
    _, [sample] = take_turn(_MODULES[CONTENDERS[contender]], place, [order])
    if "failed" in sample:
        raise SystemExit(f"{contender}: {sample['failed']}")
    return figures(sample)


def figures(sample: dict[str, Any]) -> Round:
    """Sum up one client's sample."""
    latencies = [seconds * 1e6 for seconds in sample["latencies"]]
    cuts = statistics.quantiles(latencies, n=100)
    rate = len(latencies) / sample["elapsed"]
    return Round(cuts[49], cuts[98], rate, len(latencies) + sample["lost"], sample["lost"])


def compare(settings: list[tuple[str, int]], contenders: list[str], rounds: int, scale: int) -> list[Row]:
    """Let the contenders take turns, so that a machine that gets slower or faster does so for all of them."""
    taken: dict[tuple[str, int, str], list[Round]] = {}
    for _ in range(rounds):
        for (place, in_flight), contender in product(settings, contenders):
            found = measure(contender, place, in_flight, CALLS.get(in_flight, CALLS[64]) // scale)
            taken.setdefault((place, in_flight, contender), []).append(found)
    return [_sum_up(key, found) for key, found in taken.items()]


def _sum_up(key: tuple[str, int, str], found: list[Round]) -> Row:
    return Row(
        *key,
        p50=statistics.median(one.p50 for one in found),
        p99=statistics.median(one.p99 for one in found),
        calls_per_second=statistics.median(one.calls_per_second for one in found),
        calls=sum(one.calls for one in found),
        lost=sum(one.lost for one in found),
    )


def ratios(rows: list[Row]) -> list[dict[str, object]]:
    """Return our figures over the floor's for each setting; for times, smaller is better, for calls/s larger."""
    found = {(row.place, row.in_flight, row.contender): row for row in rows}
    result = []
    for (place, in_flight, contender), ours in found.items():
        if contender == "floor":
            continue
        floor = found[place, in_flight, "floor"]
        result.append(
            {
                "place": place,
                "in_flight": in_flight,
                "contender": contender,
                "p50": ours.p50 / floor.p50,
                "p99": ours.p99 / floor.p99,
                "calls_per_second": ours.calls_per_second / floor.calls_per_second,
            }
        )
    return result


def table(rows: list[Row]) -> str:
    """Return the figures for people."""
    lines = [f"{'':9} {'in flight':>9} {'':8} {'p50 µs':>8} {'p99 µs':>8} {'calls/s':>9} {'lost':>5} {'of':>8}"]
    lines += [
        f"{row.place:9} {row.in_flight:9} {row.contender:8} {row.p50:8.1f} {row.p99:8.1f} "
        f"{row.calls_per_second:9,.0f} {row.lost:5} {row.calls:8,}"
        for row in rows
    ]
    lines.append("\nsvcd / floor:")
    lines += [
        f"{one['place']:9} {one['in_flight']:9} {one['contender']:8} {one['p50']:7.2f}x {one['p99']:7.2f}x "
        f"{one['calls_per_second']:8.2f}x"
        for one in ratios(rows)
    ]
    return "\n".join(lines)


def main() -> int:
    """Return the exit status: 1 when a call was lost."""
    parser = argparse.ArgumentParser(description="Measure one hop: svcd's against the floor.")
    parser.add_argument("--quick", action="store_true", help="one round with few calls, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"fresh processes per figure (default {ROUNDS})")
    parser.add_argument("--only", choices=PLACES, help="measure at this place only")
    parser.add_argument("--in-flight", type=int, metavar="N", help="measure with this many calls in flight only")
    parser.add_argument("--compiled", action="store_true", help="measure the compiled core too (make native)")
    options = parser.parse_args()
    contenders = [name for name in CONTENDERS if options.compiled or name != "compiled"]
    if options.compiled and (why := missing(_MODULES[CONTENDERS["compiled"]])):
        parser.error(f"--compiled: {why}")
    places = [options.only] if options.only else PLACES
    in_flight = [options.in_flight] if options.in_flight else IN_FLIGHT
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    rows = compare(list(product(places, in_flight)), contenders, rounds, QUICK if options.quick else 1)
    print(table(rows))
    if options.json:
        machine = {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}
        report = {"machine": machine, "rounds": rounds, "rows": [asdict(row) for row in rows], "ratios": ratios(rows)}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 1 if any(row.lost for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
