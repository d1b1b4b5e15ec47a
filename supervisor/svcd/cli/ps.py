"""`svcd ps`: what runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from svcd.cli.common import app_options, call_errors, daemon_of, sources_of
from svcd.cli.instants import shown
from svcd.cli.table import age, colour_of, one_line, render, size

if TYPE_CHECKING:
    from pathlib import Path

HEADER = ("REPLICA", "STATE", "PID", "GPUS", "CPU", "MEMORY", "IN FLIGHT", "RESTARTS", "SINCE", "REASON")


@click.command("ps")
@app_options
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def command(files: tuple[Path, ...], profile: str | None, sets: tuple[str, ...], *, as_json: bool) -> None:
    """List the replicas of the running app, the ingress included."""
    with call_errors(), daemon_of(sources_of(files, profile, sets)) as daemon:
        rows = daemon.call("ps", {}, timeout=10)
        troubles = daemon.call("troubles", {}, timeout=10)
    for trouble in troubles:
        click.echo(f"svcd: trouble since {shown(trouble['since'])}: {trouble['text']}", err=True)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for line in table(rows):
        click.echo(line)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table, states in colour where the terminal has any."""
    header, *lines = render(HEADER, [_cells(row) for row in rows])
    coloured = [
        line.replace(row["state"], click.style(row["state"], fg=colour_of(row["state"])), 1) if _safe(row) else line
        for line, row in zip(lines, rows, strict=True)
    ]
    return [header, *coloured]


def _safe(row: dict[str, Any]) -> bool:
    """A service whose own name holds the word would be coloured in the wrong place."""
    return row["state"] not in row["service"]


SAME = '"'
"""Stands for what the row above has, of a process that services share: it is not to be counted twice."""


def _cells(row: dict[str, Any]) -> list[str]:
    name, cpu = f"{row['service']}/{row['replica']}", row["cpu_percent"]
    is_shared = row.get("process", name) != name
    reason = one_line(row["reason"])
    return [
        name,
        row["state"],
        str(row["pid"] or "-"),
        SAME if is_shared else ",".join(uuid[:12] for uuid in row["gpus"]) or "-",
        SAME if is_shared else "-" if cpu is None else f"{cpu:.0f}%",
        SAME if is_shared else size(row["rss_bytes"]),
        "-" if row["in_flight"] is None else str(row["in_flight"]),
        str(row["restarts"]),
        age(row["since"]),
        f"in the process of {row['process']}" + (f": {reason}" if reason else "") if is_shared else reason,
    ]
