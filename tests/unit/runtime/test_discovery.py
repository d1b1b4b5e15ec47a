"""Which interpreter reads what, and what the reports make together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from svcd.runtime.discovery import Reading, readings
from svcd.runtime.reports import take_report
from svcd.values.errors import DiscoveryError

if TYPE_CHECKING:
    from pathlib import Path

Report = dict[str, Any]


class Documents:
    """As much of the configuration as discovery asks for."""

    entry_place = "svcd.toml:2"

    def __init__(self, entry: str, pythons: dict[str, str]) -> None:
        self.entry = entry
        self._pythons = pythons

    def python_for(self, service: str) -> str | None:
        return self._pythons.get(service)

    def python_place(self, service: str) -> str:
        return f"svcd.toml:{len(service)}"

    def user_for(self, service: str) -> tuple[str, str]:
        return "", ""


def service(target: str, *edges: tuple[str, str | None]) -> Report:
    dependencies = [{"name": e.rpartition(":")[2].lower(), "service": name, "target": e} for e, name in edges]
    return {"name": target.rpartition(":")[2], "target": target, "dependencies": dependencies}


def report(*services: Report, unresolved: dict[str, str] | None = None) -> Report:
    return {
        "entry": services[0]["name"],
        "services": {each["name"]: each for each in services},
        "unresolved": unresolved or {},
        "error": None,
    }


def no_doubt(_graph: Report) -> None:
    """Approve of any configuration."""


def read(documents: Documents, answers: dict[tuple[str, str], Report]) -> tuple[Report, list[Reading]]:
    reading = readings(documents, "/default/python", no_doubt)  # type: ignore[arg-type]  # a thin stand-in
    asked = [next(reading)]
    while True:
        try:
            asked.append(reading.send(answers[asked[-1].python, asked[-1].targets[0]]))
        except StopIteration as finished:
            return finished.value, asked


def test_one_interpreter_reads_it_all() -> None:
    whole = report(service("app:Top", ("app:Leaf", "Leaf")), service("app:Leaf"))
    graph, asked = read(Documents("app:Top", {}), {("/default/python", "app:Top"): whole})
    assert asked == [Reading("/default/python", ["app:Top"])]
    assert graph["entry"] == "Top"
    assert list(graph["services"]) == ["Top", "Leaf"]


def test_a_target_of_another_interpreter_is_read_there_and_its_edge_is_named() -> None:
    top = report(service("app:Top", ("torchy:Leaf", None)), unresolved={"torchy:Leaf": "No module named 'torchy'"})
    leaf = report(service("torchy:Leaf") | {"name": "LeafByName"})
    graph, asked = read(
        Documents("app:Top", {"Leaf": "/torch/python"}),
        {("/default/python", "app:Top"): top, ("/torch/python", "torchy:Leaf"): leaf},
    )
    assert [each.python for each in asked] == ["/default/python", "/torch/python"]
    assert graph["entry"] == "Top"
    assert graph["services"]["Top"]["dependencies"][0]["service"] == "LeafByName"


def test_a_target_that_nobody_can_import_says_what_to_configure() -> None:
    top = report(service("app:Top", ("torchy:Leaf", None)), unresolved={"torchy:Leaf": "No module named 'torchy'"})
    with pytest.raises(DiscoveryError) as caught:
        read(Documents("app:Top", {}), {("/default/python", "app:Top"): top})
    assert "torchy:Leaf: No module named 'torchy'" in str(caught.value)
    assert '[services.Leaf] python = "..."' in str(caught.value)


def test_an_error_of_the_child_is_raised_with_its_traceback() -> None:
    broken = report(service("app:Top")) | {"error": {"kind": "import", "message": "app: boom", "traceback": "  File x"}}
    with pytest.raises(DiscoveryError) as caught:
        read(Documents("app:Top", {}), {("/default/python", "app:Top"): broken})
    assert str(caught.value) == "app: boom\n  File x"


def test_an_interpreter_that_has_nothing_to_read_is_tried() -> None:
    services = service("app:Top", ("app:Leaf", "Leaf")), service("app:Leaf"), service("app:Other")
    pythons = {"Leaf": "/torch/python", "Other": "/torch/python", "Top": "/top/python"}
    approved = list[list[str]]()
    reading = readings(
        Documents("app:Top", pythons),  # type: ignore[arg-type]  # a thin stand-in
        "/default/python",
        lambda graph: approved.append(list(graph["services"])),
    )
    assert next(reading).python == "/top/python"
    tried = reading.send(report(*services))
    assert approved == [["Top", "Leaf", "Other"]]  # what is wrong with the configuration comes first
    assert tried == Reading("/torch/python", [])
    assert (tried.asked_by, tried.work) == (" (python of Leaf, svcd.toml:4)", "starting /torch/python")
    with pytest.raises(StopIteration) as finished:
        reading.send({"entry": None, "services": {}, "unresolved": {}, "error": None})
    assert list(finished.value.value["services"]) == ["Top", "Leaf", "Other"]


@pytest.mark.parametrize(
    ("targets", "code", "told"),
    [
        ([], 0, "/bin/true (here): is not a Python interpreter (started as one it exited with status 0)"),
        (["app:Top"], 0, "ended before it was through; it exited with status 0; is /bin/true a Python interpreter?"),
        (["app:Top"], 7, "(/bin/true) ended before it was through; it exited with status 7"),
    ],
)
def test_a_child_without_a_report_is_perhaps_no_python(
    tmp_path: Path, targets: list[str], code: int, told: str
) -> None:
    with pytest.raises(DiscoveryError) as caught:
        take_report(str(tmp_path / "graph.json"), Reading("/bin/true", targets, " (here)"), code, [])
    assert str(caught.value).endswith(told)
