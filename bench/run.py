"""`make bench`: let every contender take its turn in fresh processes, several rounds, and write what they gave.

    python bench/run.py [--quick] [--rounds N] [--only NAME]... [--out FOLDER]

Contenders whose peers are not installed (`make bench-peers`) are left out and named. FOLDER gets `results.json`,
`results.md` and the plots; the committed ones are in bench/results, and bench/README.md shows them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import report
from contenders import CONTENDERS, Contender
from figures import Key, Row, sum_up
from orders import orders

from svcd.host.processes import become_subreaper, kill_descendants

if TYPE_CHECKING:
    from load import Order

HERE = Path(__file__).parent
PEERS = HERE.parent / "build" / "peers" / "bin" / "python"
"""The peers' interpreter, made by `make bench-peers`."""
RESULTS = HERE / "results"
ROUNDS = 3
LIMIT = 900.0
"""Seconds after which one contender's turn counts as hung."""
STOP_LIMIT = 10.0
"""Seconds for the kernel to take apart what a contender has left behind."""
OURS = {"channel", "app", "app_shape", "app_http"}
"""Of which a run without loss needs all; those with the compiled core are left out where nothing is compiled."""
_VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps([version(name) for name in sys.argv[1:]]))
"""
_DISTRIBUTIONS = {"zmq": "pyzmq", "grpc": "grpcio", "bentoml": "bentoml", "ray.serve": "ray"}


def interpreter(contender: Contender) -> Path:
    """Return the interpreter that a contender runs under."""
    return PEERS if contender.needs else Path(sys.executable)


def environment(contender: Contender) -> dict[str, str]:
    """Return the variables of a contender's processes: which core svcd runs is told, not found."""
    others = {name: value for name, value in os.environ.items() if name != "SVCD_PURE"}
    return others if contender.is_compiled else others | {"SVCD_PURE": "1"}


def missing(contender: Contender) -> str:
    """Return why a contender cannot run, or ""."""
    if contender.is_compiled:
        look = [sys.executable, "-c", "from svcd.worker import kind; print(kind.PURE)"]
        return subprocess.run(
            look, env=environment(contender), capture_output=True, text=True, check=True
        ).stdout.strip()
    if not contender.needs:
        return ""
    if not PEERS.exists():
        return "the peers are not installed; make bench-peers"
    import_all = "; ".join(f"import {name}" for name in contender.needs)
    done = subprocess.run([PEERS, "-c", import_all], capture_output=True, text=True, check=False)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def take_turn(contender: Contender, place: str, asked: list[Order]) -> tuple[float, list[dict[str, Any]]]:
    """Run one contender once: return the seconds of its start, and a sample per order. Raises RuntimeError."""
    available = sorted(os.sched_getaffinity(0))
    cpus = ",".join(map(str, available[:1] if place == "one core" else available))
    command = [interpreter(contender), HERE / "driver.py", contender.name, cpus]
    lines = "".join(json.dumps(asdict(order)) + "\n" for order in asked)
    # Files, as a framework's worker that outlives its server would hold a pipe open.
    with tempfile.TemporaryFile("w+") as answers, tempfile.TemporaryFile("w+") as said:
        try:
            done = subprocess.run(
                command,
                env=environment(contender),
                input=lines,
                stdout=answers,
                stderr=said,
                text=True,
                timeout=LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"hung for {LIMIT:g} s") from None
        finally:
            kill_descendants(timeout=STOP_LIMIT)
        answers.seek(0)
        said.seek(0)
        if done.returncode:
            raise RuntimeError("\n".join(said.read().strip().splitlines()[-5:]))
        started, *samples = map(json.loads, answers)
        return started["up"], samples


class Run:
    """All rounds."""

    def __init__(self, chosen: list[Contender], *, quick: bool) -> None:
        self._chosen = chosen
        self._quick = quick
        self._samples: dict[Key, list[dict[str, Any]]] = {}
        self._ups: dict[str, list[float]] = {}
        self.left_out: dict[str, str] = {}
        """Name (of a contender, or of one thing that it was asked for) and why."""

    def round(self, number: int) -> None:
        """Let each contender take its turn, the others in between, so that a slower machine is slower for all."""
        for contender in self._chosen:
            for place in contender.places:
                if contender.name not in self.left_out:
                    self._turn(number, contender, place)

    def _turn(self, number: int, contender: Contender, place: str) -> None:
        print(f"round {number}: {contender.name}, {place}", file=sys.stderr, flush=True)
        asked = orders(contender, place, quick=self._quick)
        try:
            up, samples = take_turn(contender, place, asked)
        except RuntimeError as error:
            self.left_out[contender.name] = str(error)
            print(f"  left out: {error}", file=sys.stderr)
            return
        self._ups.setdefault(contender.name, []).append(up)
        for order, sample in zip(asked, samples, strict=True):
            key = Key(contender.name, place, order.what, order.in_flight, order.size, order.target)
            if "failed" in sample:
                self.left_out[f"{contender.name} {order.what}"] = sample["failed"]
            else:
                self._samples.setdefault(key, []).append(sample)

    def rows(self) -> list[Row]:
        """Return a row for each thing measured."""
        return [sum_up(key, samples) for key, samples in self._samples.items()]

    def ups(self) -> dict[str, float]:
        """Return the median seconds of each contender's start."""
        return {name: sorted(values)[len(values) // 2] for name, values in self._ups.items()}


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    told = dict(line.split(":", 1) for line in Path("/proc/cpuinfo").read_text().splitlines() if ":" in line)
    model = {key.strip(): value.strip() for key, value in told.items()}.get("model name", "?")
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def versions(chosen: list[Contender]) -> dict[str, str]:
    """Return the versions of the peers that take part."""
    names = sorted({_DISTRIBUTIONS[need] for each in chosen for need in each.needs})
    if not names:
        return {}
    found = subprocess.run([PEERS, "-c", _VERSIONS, *names], stdout=subprocess.PIPE, check=True).stdout
    return dict(zip(names, json.loads(found), strict=True))


def main() -> int:
    """Return the exit status: 1 when svcd lost a call or could not run."""
    parser = argparse.ArgumentParser(description="Measure svcd and its peers in one run.")
    parser.add_argument("--quick", action="store_true", help="one short round, for a first look")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"fresh processes per figure (default {ROUNDS})")
    parser.add_argument("--only", action="append", metavar="NAME", choices=[each.name for each in CONTENDERS])
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="where to write (bench/results)")
    options = parser.parse_args()
    become_subreaper()
    wanted = [each for each in CONTENDERS if not options.only or each.name in options.only]
    why = {each.name: missing(each) for each in wanted}
    chosen = [each for each in wanted if not why[each.name]]
    run = Run(chosen, quick=options.quick)
    run.left_out.update({name: reason for name, reason in why.items() if reason})
    for name, reason in run.left_out.items():
        print(f"left out: {name}: {reason}", file=sys.stderr)
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    for number in range(1, rounds + 1):
        run.round(number)
    found = report.Report(machine() | {"rounds": rounds}, versions(chosen), run.rows(), run.ups(), run.left_out)
    report.write(found, options.out)
    print(report.markdown(found))
    if options.out.resolve() == RESULTS.resolve():
        report.update_readme(found, HERE / "README.md")
    has_lost = any(row.lost for row in found.rows if row.key.contender in OURS)
    return 1 if has_lost or OURS & run.left_out.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
