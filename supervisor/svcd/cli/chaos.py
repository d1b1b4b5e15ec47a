"""`svcd chaos FAULT SERVICE...`: break replicas of the running app on purpose, and tell what becomes of them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import click

from svcd.cli.common import (
    EXIT_FAILURE,
    EXIT_NO_SUCH_SERVICE,
    EXIT_USAGE,
    app_options,
    call_errors,
    daemon_of,
    fail,
    places_of,
    sources_of,
)
from svcd.cli.durations import Duration

FAULTS = ("kill", "stop", "slow", "drop")


@click.command("chaos")
@click.argument("fault", type=click.Choice(FAULTS))
@click.argument("services", metavar="SERVICE...", nargs=-1, required=True)
@app_options
@click.option("--every", type=Duration(), default="5s", show_default=True, help="Between two strikes.")
@click.option("--for", "seconds", type=Duration(), default="1m", show_default=True, help="How long.")
@click.option("--seed", type=int, metavar="N", help="Who is struck, and in what order. [default: by chance]")
@click.option(
    "--settle", type=Duration(), default="30s", show_default=True, help="To be ready again within, at the end."
)
@click.option("--json", "as_json", is_flag=True, help="Print every strike, and what became of it, as JSON.")
def command(
    fault: str,
    services: tuple[str, ...],
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    *,
    every: float,
    seconds: float,
    seed: int | None,
    settle: float,
    as_json: bool,
) -> None:
    """Break a random replica of the services named, every so often, and tell how long it is missed.

    \b
    kill  SIGKILL: its calls are lost, another process takes its place
    stop  SIGSTOP: it hangs, until its liveness limit has it replaced
    slow  stopped and continued in turn: it gets a fifth of the time
    drop  its connections are cut: it lives, its calls are lost

    Put load on the app meanwhile (svcd bench) to see what callers notice. What can be taken back is when the command
    ends, also by Ctrl-C. Exit code 1: not all are ready again within --settle.
    """
    if not 0 < every <= seconds:
        fail(f"--every {every:g} s and --for {seconds:g} s: that is not a single strike; make --for longer", EXIT_USAGE)
    sources = sources_of(files, profile, sets)
    seed = random.SystemRandom().randrange(1, 10**6) if seed is None else seed
    with call_errors():
        with daemon_of(sources) as daemon:
            for service in services:
                if "unknown" in (found := daemon.call("status", {"service": service}, timeout=10)):
                    fail(f"no service {service}; this app has {', '.join(found['services'])}", EXIT_NO_SUCH_SERVICE)
        from svcd.measure.chaos import Plan, run  # noqa: PLC0415 - other commands need no event loop

        plan = Plan(fault, services, every, seconds, seed, settle)

        def tell(at: float, text: str) -> None:
            if not as_json:
                click.echo(f"{at:6.1f} s  {text}")

        if not as_json:
            click.echo(f"seed {seed}: {fault} one of {', '.join(services)} every {every:g} s for {seconds:g} s")
        figures = run(Path(places_of(sources).control), plan, tell)
    click.echo(json.dumps(figures, indent=2) if as_json else told(figures))
    if figures["lacking"]:
        fail(f"not ready again: {', '.join(figures['lacking'])}; `svcd status` says why", EXIT_FAILURE)
    if not figures["strikes"]:
        fail("nobody was struck: none of them was up at any strike; `svcd status` says why", EXIT_FAILURE)


def told(figures: dict[str, Any]) -> str:
    """Return the summary: how many were struck, how soon that was noticed, and how long they were missed."""
    strikes = figures["strikes"]
    lines = [f"strikes   {len(strikes)}" + (f", {figures['missed']} missed" if figures["missed"] else "")]
    for word in ("noticed", "back"):
        times = sorted(strike[word] for strike in strikes if strike[word] is not None)
        if times:
            middle = times[len(times) // 2]
            lines.append(
                f"{word:<9} {len(times)}, after {middle * 1e3:.0f} ms (median), {times[-1] * 1e3:.0f} ms at most"
            )
    return "\n".join(lines)


__all__ = ["command", "told"]
