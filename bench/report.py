"""A run's figures as JSON, as Markdown, and as pictures."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from contenders import CONTENDERS
from plots import charts
from ratios import ratios

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from figures import Row

BEGIN, END = "<!-- results -->", "<!-- /results -->"
"""What is between them in the README is written by a run."""
_KNOWN = {each.name: each for each in CONTENDERS}


@dataclass(slots=True)
class Report:
    """All that a run found."""

    machine: dict[str, Any]
    versions: dict[str, str]
    rows: list[Row]
    ups: dict[str, float]
    """Seconds of each contender's start."""
    left_out: dict[str, str]
    """Who did not run, and why."""


def write(report: Report, folder: Path) -> None:
    """Write results.json, results.md and the plots."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(asdict(report), indent=1) + "\n")
    for name, chart in charts(report.rows).items():
        (folder / f"{name}.svg").write_text(chart.svg())
    (folder / "results.md").write_text(markdown(report, pictures=""))


def update_readme(report: Report, readme: Path) -> None:
    """Replace the results in the README."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n\n{markdown(report, pictures='results/')}\n{END}{after}")


def markdown(report: Report, pictures: str | None = None) -> str:
    """Return the tables; with the pictures, which lie in the folder `pictures`, unless it is None."""
    sections = [_about(report), _ratio_table(report), *_tables(report), _left_out(report)]
    if pictures is not None:
        names = charts(report.rows)
        sections += [f"![{chart.title}]({pictures}{name}.svg)\n" for name, chart in names.items()]
    return "\n".join(section for section in sections if section)


def _about(report: Report) -> str:
    told = report.machine
    peers = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return (
        f"{told['date']}, {told['cores']} cores of {told['cpu']}, Linux {told['kernel']}, Python {told['python']}"
        f"{', ' + peers if peers else ''}. Medians of {told['rounds']} rounds.\n"
    )


def _ratio_table(report: Report) -> str:
    found = ratios(report.rows)
    if not found:
        return ""
    lines = [[one.what, one.shown(), one.goal, "yes" if one.is_reached else "no"] for one in found]
    return _table(["ratio", "measured", "goal", "reached"], lines)


def _tables(report: Report) -> list[str]:
    return [
        _section("Small calls", report, "hop", "small"),
        _section("Other calls of svcd", report, "hop", ("sync", "stream")),
        _section("Arrays, there and back", report, ("hop", "work"), ("array", "empty", "memcpy")),
        _section("Chains and replicas", report, "shape", ("chain", "many")),
        _section("HTTP, a small JSON body", report, "http", "small"),
        _ups(report),
    ]


def _section(title: str, report: Report, kinds: str | Iterable[str], whats: str | Iterable[str]) -> str:
    kinds, whats = _many(kinds), _many(whats)
    rows = [row for row in report.rows if _KNOWN[row.key.contender].kind in kinds and row.key.what in whats]
    rows.sort(key=lambda row: (row.key.place, row.key.what, row.key.in_flight, row.key.size, int(row.key.target or 0)))
    lines = [
        [
            row.key.place,
            _what(row),
            str(row.key.in_flight),
            _KNOWN[row.key.contender].title,
            f"{row.p50:,.1f}",
            f"{row.p99:,.1f}",
            "" if row.first is None else f"{row.first:,.0f}",
            f"{row.items_per_second or row.calls_per_second:,.0f}",
            f"{row.lost:,} of {row.calls:,}",
        ]
        for row in rows
    ]
    head = ["place", "what", "in flight", "contender", "p50 µs", "p99 µs", "first µs", "per second", "lost"]
    return f"### {title}\n\n{_table(head, lines)}" if lines else ""


def _what(row: Row) -> str:
    key = row.key
    if key.size:
        return f"{key.what} {key.size:,} B"
    if key.target:
        return f"{key.target} {'hops' if key.what == 'chain' else 'replicas'}"
    return "stream, items" if key.what == "stream" else key.what


def _ups(report: Report) -> str:
    wanted = [name for name in report.ups if _KNOWN[name].kind == "http"]
    if not wanted:
        return ""
    lines = [[_KNOWN[name].title, f"{report.ups[name]:.2f}"] for name in wanted]
    return "### From the start to the first answer over HTTP\n\n" + _table(["contender", "s"], lines)


def _left_out(report: Report) -> str:
    if not report.left_out:
        return ""
    lines = "".join(f"- `{name}`: {' '.join(why.split())}\n" for name, why in report.left_out.items())
    return f"### Left out\n\n{lines}"


def _many(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _table(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] * len(head)
    return "".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |\n" for line in [head, rule, *lines])
