"""Reading the dependency graph: which interpreter reads which targets, and what their reports make together.

A pure generator: it yields what to read and is sent the reports, so that the daemon can run the children under its
keeper and `svcd check` under itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from svcd.values.errors import DiscoveryError
from svcd.values.specs import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from svcd.config import Documents

Report = dict[str, Any]

LIMIT = 300.0
"""Seconds of importing after which it counts as stuck; a module that needs longer belongs into `__init__`."""
LAST_WORDS = 0.5
"""Seconds to write down where it is stuck."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One discovery child to run."""

    python: str
    targets: list[str]
    """None where all that is asked is whether the interpreter can run a service."""
    asked_by: str = field(default="", compare=False)
    """Who names the targets, as the middle of an error message."""
    process: Process = field(default_factory=Process, compare=False)
    """Whose user it runs as: what a module does when it is imported, its service may do."""

    @property
    def work(self) -> str:
        """What the child does, in words."""
        return f"importing {', '.join(self.targets)}" if self.targets else f"starting {self.python}"


def stuck(reading: Reading, lines: Sequence[str]) -> DiscoveryError:
    """Return the error of a child that has not ended; lines: the last that it wrote."""
    text = f"{reading.work} did not end within {LIMIT:g} s; what takes long belongs into __init__"
    return DiscoveryError(text, "\n".join(lines) or None)


def readings(
    documents: Documents, default_python: str, approve: Callable[[Report], object]
) -> Generator[Reading, Report, Report]:
    """Yield each reading, take its report, return the whole graph. Raises DiscoveryError.

    The entry is read first. A target given as text that its caller's interpreter cannot import is read by the
    interpreter configured for that service. Interpreters that had nothing to read are tried at the end.

    approve: Raises what is wrong with the configuration of this graph; asked before interpreters are tried, so that all
        such mistakes are told at once.
    """
    graph: Report = {"entry": None, "services": {}}
    entry_python = _python(documents, documents.entry, default_python)
    todo = [(entry_python, documents.entry, "")]
    seen: set[tuple[str, str]] = set()
    while todo:
        python, target, why = todo.pop()
        if (python, target) in seen:
            raise DiscoveryError(_unreadable(target, python, why))
        seen.add((python, target))
        asked_by = f" (app.service, {documents.entry_place})" if target == documents.entry else ""
        user, group = documents.user_for(_class_name(target))
        report = yield Reading(python, [target], asked_by, Process(user=user, group=group))
        _check(report, "" if target == documents.entry or _is_named(documents, target) else _hint(target, python))
        graph["entry"] = graph["entry"] or report["entry"]
        for name, service in report["services"].items():
            graph["services"].setdefault(name, service)
        known = {service["target"] for service in graph["services"].values()}
        for missing, reason in report["unresolved"].items():
            if missing not in known:
                todo.append((_python(documents, missing, default_python), missing, reason))
                seen.add((python, missing))
        todo = [item for item in todo if item[1] not in known]
    _name_edges(graph)
    used = {python for python, _ in seen}
    untried: dict[str, str] = {}
    for name in graph["services"]:
        named = documents.python_for(name)
        if named is not None and named not in used:
            untried.setdefault(named, name)
    if untried:
        approve(graph)
    for named, name in untried.items():
        _check((yield Reading(named, [], f" (python of {name}, {documents.python_place(name)})")), "")
    return graph


def _python(documents: Documents, target: str, default: str) -> str:
    """The interpreter configured for a target; before it is read, its class name stands for the service's name."""
    return documents.python_for(_class_name(target)) or default


def _class_name(target: str) -> str:
    return target.rpartition(":")[2]


def _is_named(documents: Documents, target: str) -> bool:
    """Whether the configuration names the interpreter of a target's service."""
    return documents.python_for(_class_name(target)) is not None


def _check(report: Report, hint: str) -> None:
    error = report.get("error")
    if error:
        raise DiscoveryError(error["message"] + hint, error["traceback"])


def _unreadable(target: str, python: str, why: str) -> str:
    return f"{target}: {why or 'cannot be imported'}{_hint(target, python)}"


def _hint(target: str, python: str) -> str:
    return (
        f"; if {target} lives in another virtual environment, name that one's interpreter:"
        f' [services.{_class_name(target)}] python = "..." (tried {python})'
    )


def _name_edges(graph: Report) -> None:
    """Give every edge the name of its callee's service; an edge to text that only another child could read lacks it."""
    names = {service["target"]: name for name, service in graph["services"].items()}
    for service in graph["services"].values():
        for edge in service["dependencies"]:
            edge["service"] = edge["service"] or names[edge["target"]]
            if fallback := edge.get("fallback"):
                edge["fallback"] = fallback["service"] or names[fallback["target"]]
