"""What callers notice of faults: an app under a steady load over HTTP, whose replicas are broken one after the other.

Services have two replicas each, requests come in an open loop without retries, a third of them to an api that is not
idempotent. Each fault takes its turn with an app of its own.

    python bench/faults.py [--seconds N] [--rate N] [--seed N] [--only FAULT] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from svcd.measure.chaos import Plan, run
from svcd.measure.http import HttpLoad

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
FAULTS = {
    "kill": ("kill", ("Work", "Entry"), 1.0),
    "stop": ("stop", ("Work", "Entry"), 5.0),
    "slow": ("slow", ("Work", "Entry"), 2.0),
    "drop": ("drop", ("Work", "Entry"), 1.0),
    "ingress": ("kill", ("ingress",), 2.0),
}
"""Name here -> fault, services, seconds between two strikes."""
TOML = """
[app]
name = "faults"
service = "faults_services:Entry"
http = "127.0.0.1:0"
ingress = { replicas = 2 }
[services.Work]
scaling = { min_replicas = 2, max_replicas = 2 }
liveness = { period = 0.25, timeout = 1, threshold = 2 }
traffic = { timeout = 10 }
[services.Entry]
scaling = { min_replicas = 2, max_replicas = 2 }
liveness = { period = 0.25, timeout = 1, threshold = 2 }
traffic = { timeout = 10 }
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What one fault came to. Times in milliseconds, None where nothing was to be replaced."""

    fault: str
    strikes: int
    noticed: float | None
    noticed_at_most: float | None
    back: float | None
    back_at_most: float | None
    sent: int
    failed: dict[str, int]
    """Of the idempotent api, by type of error."""
    sent_once: int
    failed_once: dict[str, int]
    """Of the other one."""
    longest: float
    """That an answer took."""


@contextmanager
def running(folder: Path) -> Iterator[tuple[str, Path]]:
    """Run the app; give its URL and its control socket."""
    (folder / "svcd.toml").write_text(TOML)
    shutil.copy(HERE / "faults_services.py", folder)
    own = {"SVCD_RUNTIME_DIR": str(folder / "run"), "SVCD_LOG_DIR": str(folder / "log"), "SVCD_STATE_DIR": str(folder)}
    svcd = [sys.executable, "-P", "-m", "svcd"]

    def tell(*words: str) -> str:
        done = subprocess.run(
            [*svcd, *words], env={**os.environ, **own}, cwd=folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    tell("up", "-d", "--wait")
    try:
        yield json.loads(tell("status", "--json"))["url"], folder / "run" / "control.sock"
    finally:
        tell("down")


def measure(name: str, args: argparse.Namespace) -> Row:
    """Have one fault done again and again, and count."""
    fault, services, every = FAULTS[name]
    plan = Plan(fault, services, every=every, seconds=args.seconds, seed=args.seed, settle=60.0)
    with (
        tempfile.TemporaryDirectory(prefix="svcd-") as folder,
        running(Path(folder)) as (url, control),
        HttpLoad(url, "again", {"x": 1}, rate=args.rate, timeout=15) as again,
        HttpLoad(url, "once", {"x": 1}, rate=args.rate / 2, timeout=15) as once,
    ):
        figures = run(control, plan, lambda _at, _text: None)
    noticed, back = (_times(figures, word) for word in ("noticed", "back"))
    longest = max(each.answered - each.asked for each in again.noted + once.noted)
    return Row(
        name,
        len(figures["strikes"]),
        *noticed,
        *back,
        len(again.noted),
        _kinds(again),
        len(once.noted),
        _kinds(once),
        longest * 1e3,
    )


def _times(figures: dict[str, Any], word: str) -> tuple[float | None, float | None]:
    """Median and maximum, in milliseconds."""
    times = [strike[word] * 1e3 for strike in figures["strikes"] if strike[word] is not None]
    return (median(times), max(times)) if times else (None, None)


def _kinds(load: HttpLoad) -> dict[str, int]:
    return dict(Counter(type(each.error).__name__ for each in load.failed))


def line(row: Row) -> str:
    """Return a line of the table."""

    def pair(middle: float | None, most: float | None) -> str:
        return "-" if middle is None or most is None else f"{middle:.0f} / {most:.0f}"

    def failed(sent: int, kinds: dict[str, int]) -> str:
        told = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "0"
        return f"{told} of {sent:,}"

    cells = (
        row.fault,
        str(row.strikes),
        pair(row.noticed, row.noticed_at_most),
        pair(row.back, row.back_at_most),
        failed(row.sent, row.failed),
        failed(row.sent_once, row.failed_once),
        f"{row.longest:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--rate", type=float, default=150.0, help="idempotent requests per second, and half as many others"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 10**6))
    parser.add_argument("--only", choices=FAULTS, action="append")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    print(f"seed {args.seed}, {args.seconds:g} s each; times in milliseconds, median / maximum\n")
    print("| fault | strikes | noticed after | back after | failed, idempotent | failed, not idempotent | longest |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    rows = []
    for name in args.only or FAULTS:
        rows.append(measure(name, args))
        print(line(rows[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


if __name__ == "__main__":
    main()
