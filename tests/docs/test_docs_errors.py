"""docs/http.md has every status and code that a client can be answered with, and no other; docs have every variable."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

import pytest
from doc_blocks import ROOT

from svcd.ingress.problems import PROBLEMS, STATUSES
from svcd_ipc.errors import BadResult, Busy, RemoteError

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (ROOT / "docs" / "http.md").read_text()
DOCUMENTS = "".join(path.read_text() for path in (ROOT / "docs").glob("*.md"))
CODE = [path for folder in ("supervisor", "ipc") for path in (ROOT / folder).rglob("*.py")]
VARIABLES = sorted({name for path in CODE for name in re.findall(r"\bSVCD_[A-Z][A-Z_]*", path.read_text())})
_SAID_BY = {"Problem", "refuse"}
"""What makes an answer of a status and a code."""


def documented() -> set[tuple[int, str]]:
    """Return what the table of errors has."""
    rows = re.findall(r"^\| (\d{3}) \| (`.+?`.*?) \|", PAGE, re.MULTILINE)
    return {(int(status), code) for status, cell in rows for code in re.findall(r"`(\w+)`", cell)}


def refused() -> Iterator[tuple[int, str]]:
    """Yield what the ingress says of requests that no service was asked about."""
    for path in (ROOT / "supervisor" / "svcd" / "ingress").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _SAID_BY:
                match node.args[:2]:
                    case [ast.Constant(value=int(status)), ast.Constant(value=str(code))]:
                        yield status, code


def test_every_status_and_code_is_documented() -> None:
    # Busy is told between replicas and their callers, which try elsewhere and in the end say Overloaded.
    told = {(status, code) for code, status in STATUSES.items() if code != Busy.code}
    failures = {(500, code) for code in (RemoteError.code, BadResult.code, "internal")}
    no_space = {(507, "storage")}
    assert documented() == told | failures | no_space | set(refused())


def test_every_status_is_in_the_openapi_document() -> None:
    assert {status for status, _ in documented()} == PROBLEMS.keys()


@pytest.mark.parametrize("name", VARIABLES)
def test_every_variable_is_documented(name: str) -> None:
    assert f"`{name}" in DOCUMENTS or f"${name}" in DOCUMENTS
