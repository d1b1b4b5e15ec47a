"""What the boot script asks of an interpreter, before it imports anything of ours."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from svcd.worker import boot


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package whose metadata says version 1.10.2."""
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "__init__.py").touch()
    (tmp_path / "some_package-1.10.2.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    return "some_package"


@pytest.mark.parametrize(
    ("wanted", "there"),
    [("some", True), ("some>=1.9", True), ("some>=1.10", True), ("some>=1.11", False), ("some>=2", False)],
)
def test_an_old_version_counts_as_missing(wanted: str, there: bool, package: str) -> None:
    assert boot.is_there(package, wanted) is there


def test_what_is_not_installed_is_missing() -> None:
    assert not boot.is_there("nowhere_to_be_found", "nowhere")


def test_an_old_interpreter_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", (3, 9, 1))
    with pytest.raises(boot.UnfitError, match=r"is Python 3\.9; svcd needs 3\.11 or later"):
        boot.check_interpreter()


def test_an_old_interpreter_can_read_the_script() -> None:
    ast.parse(Path(boot.__file__).read_text(), feature_version=(3, 8))


def test_the_packages_are_found_beside_each_other_or_in_a_checkout(tmp_path: Path) -> None:
    (tmp_path / "site" / "svcd_ipc").mkdir(parents=True)
    assert boot.beside(tmp_path / "site" / "svcd") == tmp_path / "site" / "svcd_ipc"
    assert boot.beside(tmp_path / "supervisor" / "svcd") == tmp_path / "ipc" / "svcd_ipc"
