"""One contender in one run: a process that starts its servers, measures what it is told, and ends them.

    python bench/driver.py NAME CPUS

Orders come as JSON objects, one per line, on standard input; the answers go to standard output: first the seconds that
the start took, then for each order a sample, or `{"failed": why}`. The end of the input ends the run.
`cpus` are core numbers joined by commas.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main(name: str, cpus: str) -> None:
    """Serve orders until there are no more."""
    os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    sys.path.insert(0, str(HERE))
    # Whatever a framework prints on its way must not get between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from load import Order

    contender = importlib.import_module(f"contenders.{name}")
    with contender.Session() as session:
        print(json.dumps({"up": session.up}), file=answers, flush=True)
        for line in sys.stdin:
            try:
                sample = session.measure(Order(**json.loads(line)))
            except Exception as error:  # noqa: BLE001 - one thing that fails must not take the others along
                sample = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps(sample), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
