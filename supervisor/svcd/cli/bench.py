"""`svcd bench SERVICE.API [JSON]`: put load on one api of the running app and print how it answered."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from svcd.cli.common import EXIT_FAILURE, EXIT_USAGE, app_options, call_errors, daemon_of, fail, places_of, sources_of
from svcd.cli.durations import Duration
from svcd.cli.target import START_LIMIT, body_of, find, parts_of

JSON_TYPE = "application/json"


@click.command("bench")
@click.argument("target", metavar="SERVICE.API")
@click.argument("body", metavar="[JSON]", default="{}")
@app_options
@click.option("--rate", type=click.FloatRange(0, min_open=True), metavar="N", help="Calls per second: an open loop.")
@click.option("--in-flight", type=click.IntRange(1), metavar="N", help="Calls at a time: a closed loop. [default: 1]")
@click.option("--for", "seconds", type=Duration(), default="10s", show_default=True, help="How long.")
@click.option("--warm-up", type=Duration(), default="1s", show_default=True, help="Before it, not counted.")
@click.option("--timeout", type=Duration(), help="That each call has. [default: the service's own timeout]")
@click.option("--type", "content_type", default=JSON_TYPE, show_default=True, help="What the body is.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def command(
    target: str,
    body: str,
    files: tuple[Path, ...],
    profile: str | None,
    sets: tuple[str, ...],
    *,
    rate: float | None,
    in_flight: int | None,
    seconds: float,
    warm_up: float,
    timeout: float | None,
    content_type: str,
    as_json: bool,
) -> None:
    """Call an api again and again, over all its replicas as a service that depends on it would, and measure.

    JSON is an object of keyword arguments; `-` reads the body from standard input, `@FILE` from a file. The exit code
    is 1 when a call failed. Ctrl-C ends it early, with the figures so far.
    """
    if rate is not None and in_flight is not None:
        fail("--rate is an open loop and --in-flight a closed one; give one of them", EXIT_USAGE)
    if not seconds:
        fail("--for 0 measures nothing; give it some time, such as --for 10s", EXIT_USAGE)
    service, api = parts_of(target)
    call = _call_of(api, body_of(body), content_type)
    sources = sources_of(files, profile, sets)
    with call_errors():
        found = find(service, api, daemon_of(sources), timeout or START_LIMIT)
        from svcd.measure.bench import Target, measure  # noqa: PLC0415 - other commands need no event loop
        from svcd.measure.figures import Load  # noqa: PLC0415 - as above

        load = Load(seconds, warm_up, rate, in_flight or 1)
        timeout = found["timeout"] if timeout is None else timeout
        what = Target(found["service"], *call, is_stream=found["is_stream"], timeout=timeout)

        def begin() -> None:
            if not as_json:
                click.echo(f"{what.service}.{api}: {load}", err=True)

        measured = measure(Path(places_of(sources).control), what, load, begin)
    figures = {"service": what.service, "api": api, **measured}
    click.echo(json.dumps(figures, indent=2) if as_json else _told(figures))
    if figures["errors"] or not figures["answered"]:
        sys.exit(EXIT_FAILURE)


def _call_of(api: str, body: bytes, content_type: str) -> tuple[str, dict[str, Any]]:
    """Return the api that is called and its arguments: JSON as a service would send it, all else as HTTP."""
    if content_type != JSON_TYPE:
        return "svcd.http", {"api": api, "body": body, "type": content_type, "accept": "*/*"}
    try:
        args = json.loads(body or b"{}")
    except ValueError as error:
        fail(f"the body is no JSON: {error}; --type says what else it is", EXIT_USAGE)
    if not isinstance(args, dict):
        fail("""the body should be a JSON object of keyword arguments, such as '{"text": "a"}'""", EXIT_USAGE)
    return api, args


def _told(figures: dict[str, Any]) -> str:
    rate = f"{figures['answered_per_second']:,.1f}/s, {_plural(figures['replicas'], 'replica')}"
    lines = [f"answered  {figures['answered']:,} of {figures['calls']:,} calls, {rate}"]
    if figures["items"]:
        lines.append(f"items     {figures['items']:,}, {figures['items'] / figures['seconds']:,.1f}/s")
    if figures["latency_ms"]:
        lines.append("latency   " + "  ".join(f"{name} {_ms(value)}" for name, value in figures["latency_ms"].items()))
    for kind, of in figures["errors"].items():
        lines.append(f"failed    {of['calls']:,} {kind}: {of['first']}")
    if figures["behind_ms"] > _LATE:
        lines.append(
            f"note      the load itself was up to {_ms(figures['behind_ms'])} late, which is in the latencies;"
            " a lower --rate measures the service alone"
        )
    return "\n".join(lines)


_LATE = 250.0
"""Milliseconds beyond which the load's own lateness is told."""


def _ms(value: float) -> str:
    return f"{value:.3g} ms" if value < 1000 else f"{value / 1000:.3g} s"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" + ("" if count == 1 else "s")
