"""Measure what large arrays cost between two local processes that share memory.

    there and back     64 MB there, x + 1 back, sums checked at both sides, over the same work in one process and one
                       memcpy of 64 MB each way
    built in place     64 MB made with svcd.empty, one number back, over a small call
    first              the first 64 MB after the processes have started, over later ones

Each round is a fresh pair of processes, and what is compared takes turns within it, so the ratios are what counts.

    python bench/arrays.py [--quick] [--json FILE] [--rounds N] [--threshold]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import trio

import svcd
from svcd_ipc.buffers import LEND
from svcd_ipc.channel import Limits
from svcd_ipc.client import connect
from svcd_ipc.memory import of_process
from svcd_ipc.server import listen, serve

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from svcd_ipc.channel import Channel

SIZE = 64 * 1000 * 1000
"""Bytes of a large array."""
ROUNDS, TURNS = 5, 7
SMALL_CALLS = 200
THRESHOLDS = [kib * 1024 for kib in (16, 32, 64, 96, 128, 256, 512, 1024, 4096)]
LIMITS = Limits(frame=1 << 30)
GOALS = {"there and back": 1.05, "built in place": 3.0, "first": 3.0}
LIMIT = 300.0
"""Seconds after which a client counts as hung."""


async def answer(call: Any) -> Any:
    """Be the callee."""
    x = call.args["x"]
    if call.api == "plus_one":
        return work(x)
    if call.api == "first":
        return int(x[0])
    return x


def work(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Do the callee's part: check a sum, add one, make another."""
    before = x.sum()
    y = x + 1
    assert y.sum() == before + x.size
    return y


async def timed(function: Callable[..., Awaitable[Any]], *args: Any) -> float:
    """Return the seconds that it takes."""
    start = time.perf_counter()
    await function(*args)
    return time.perf_counter() - start


async def there_and_back(channel: Channel, x: np.ndarray[Any, Any]) -> None:
    """Do all of it over two processes."""
    before = x.sum()
    y = await channel.call("plus_one", {"x": x})
    assert y.sum() == before + x.size


async def here(x: np.ndarray[Any, Any]) -> None:
    """Do the same in this one."""
    before = x.sum()
    y = work(x)
    assert y.sum() == before + x.size


async def copied(target: np.ndarray[Any, Any], x: np.ndarray[Any, Any]) -> None:
    """Copy once, to memory that has been written to before."""
    np.copyto(target, x)


async def built(channel: Channel, x: np.ndarray[Any, Any]) -> None:
    """Send what lies in the arena already."""
    assert await channel.call("first", {"x": x}) == 1


async def small(channel: Channel) -> None:
    """Make a small call."""
    assert await channel.call("echo", {"x": 1}) == 1


async def client_main(path: str, is_threshold: bool) -> dict[str, Any]:
    """Be the client of one round; return the seconds of each thing."""
    async with trio.open_nursery() as nursery:
        channel = await connect(path, nursery=nursery, memory=of_process(), limits=LIMITS)
        if is_threshold:
            plain = await connect(path, nursery=nursery, limits=LIMITS)
            found = await thresholds(channel, plain)
            plain.close()
        else:
            found = await large(channel)
        channel.close()
    return found


async def large(channel: Channel) -> dict[str, Any]:
    """Measure large arrays; the first of all is the first that either process has sent."""
    x = np.ones(SIZE // 8)
    await small(channel)
    found: dict[str, Any] = {"first": [await timed(there_and_back, channel, x)]}
    target = np.empty_like(x)
    await copied(target, x)
    await here(x)
    mine = svcd.empty(x.shape, x.dtype)
    mine[:] = x
    for _ in range(TURNS):
        found.setdefault("there and back", []).append(await timed(there_and_back, channel, x))
        found.setdefault("here", []).append(await timed(here, x))
        found.setdefault("memcpy", []).append(await timed(copied, target, x))
        for _ in range(SMALL_CALLS // TURNS):
            found.setdefault("built", []).append(await timed(built, channel, mine))
            found.setdefault("small", []).append(await timed(small, channel))
    return found


async def thresholds(shared: Channel, plain: Channel) -> dict[str, Any]:
    """Measure one array there and a number back, lent and through the socket, for several sizes."""
    found: dict[str, Any] = {}
    for size in THRESHOLDS:
        x = np.ones(size, "u1")  # np.ones, so that `built` finds what it looks for
        for _ in range(SMALL_CALLS):
            for name, channel in (("lent", shared), ("sent", plain)):
                found.setdefault(f"{name} {size}", []).append(await timed(built, channel, x))
    return found


async def server_main(path: str) -> None:
    """Be the server of one round, until killed."""
    async with trio.open_nursery() as nursery:
        listener = listen(path)

        async def run(task_status: trio.TaskStatus[None]) -> None:
            await serve(listener, answer, identity={}, memory=of_process(), limits=LIMITS, task_status=task_status)

        await nursery.start(run)
        print("ready", flush=True)


def one_round(kind: str) -> dict[str, list[float]]:
    """Start a server and a client, and return what the client saw."""
    with tempfile.TemporaryDirectory(prefix="arrays") as folder:
        path = f"{folder}/s"
        with subprocess.Popen([sys.executable, __file__, "--role", "serve", path], stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                server.stdout.readline()
                client = [sys.executable, __file__, "--role", kind, path]
                output = subprocess.run(client, check=True, stdout=subprocess.PIPE, timeout=LIMIT).stdout
            finally:
                server.kill()
    return dict(json.loads(output))


def medians(rounds: int, kind: str) -> list[dict[str, float]]:
    """Return the median seconds of each thing, round by round; for thresholds the least, as they lie close together."""
    sum_up = min if kind == "threshold" else statistics.median
    return [{name: sum_up(times) for name, times in one_round(kind).items()} for _ in range(rounds)]


def ratios(found: list[dict[str, float]]) -> dict[str, float]:
    """Return what `GOALS` speaks of: medians over the rounds."""
    each = [
        {
            "there and back": one["there and back"] / (one["here"] + 2 * one["memcpy"]),
            "built in place": one["built"] / one["small"],
            "first": one["first"] / one["there and back"],
        }
        for one in found
    ]
    return {name: statistics.median(one[name] for one in each) for name in GOALS}


def table(found: list[dict[str, float]]) -> str:
    """Return times and ratios for people."""
    lines = [f"{name:16} {statistics.median(one[name] for one in found) * 1e3:9.3f} ms" for name in found[0]]
    lines.append("")
    lines += [f"{name:16} {ratio:9.2f} x   at most {GOALS[name]:.2f}" for name, ratio in ratios(found).items()]
    return "\n".join(lines)


def threshold_table(found: list[dict[str, float]]) -> str:
    """Return the times of arrays that are lent and sent, by size."""
    lines = [f"{'KiB':>6} {'lent µs':>9} {'sent µs':>9}"]
    for size in THRESHOLDS:
        lent, sent = (statistics.median(one[f"{name} {size}"] for one in found) * 1e6 for name in ("lent", "sent"))
        lines.append(f"{size // 1024:6} {lent:9.1f} {sent:9.1f}{'  <- LEND' if size == LEND else ''}")
    return "\n".join(lines)


def main() -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Measure large arrays between two processes.")
    parser.add_argument("--quick", action="store_true", help="one round, for a first look")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"fresh pairs of processes (default {ROUNDS})")
    parser.add_argument("--threshold", action="store_true", help="find the size from which lending is worth it")
    parser.add_argument("--role", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role:
        role, path = options.role
        if role == "serve":
            trio.run(server_main, path)
        else:
            json.dump(trio.run(client_main, path, role == "threshold"), sys.stdout)
        return 0
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    found = medians(rounds, "threshold" if options.threshold else "large")
    print(threshold_table(found) if options.threshold else table(found))
    if options.json:
        report = {"rounds": found} if options.threshold else {"rounds": found, "ratios": ratios(found), "goals": GOALS}
        options.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
