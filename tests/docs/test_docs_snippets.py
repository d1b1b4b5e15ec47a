"""Every snippet of the documents does what it says: commands are typed, programs are run, TOML is read."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from doc_blocks import DOCUMENTS, ROOT, Block, all_blocks, blocks, documents_with, name_of
from doc_terminal import Terminal, pattern_of, tidy
from lifecycle_diagram import PAGE, renewed

from svcd.config import Sources, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KNOWN = {"console", "ini", "mermaid", "python", "sh", "text", "toml"}
"""Languages of blocks; only `text` is not held to anything."""
EXAMPLE_TEXTS = {path.read_text() for path in (ROOT / "examples").glob("*/*") if path.suffix in {".py", ".toml"}}
PROMISED = re.compile(r"^\s*print\(.*\)  # (.*)$", re.MULTILINE)
TARGET = re.compile(r"^make (\w+)", re.MULTILINE)
ARROW = re.compile(r"(\w+) -- .*? --> (\w+)")


def test_every_block_says_what_it_is() -> None:
    others = [block.place for document in DOCUMENTS for block in blocks(document) if block.language not in KNOWN]
    assert not others, f"blocks in none of the languages {', '.join(sorted(KNOWN))}: {others}"


@pytest.mark.parametrize("document", documents_with("console"), ids=name_of)
def test_commands_print_what_the_document_shows(document: Path, tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        for block in blocks(document):
            for command, expected in block.commands() if block.language == "console" else ():
                terminal.run(command, expected)


def programs(document: Path) -> list[Block]:
    """Return the Python blocks but for those that are files of examples/, which have tests of their own."""
    return [block for block in blocks(document) if block.language == "python" and block.text not in EXAMPLE_TEXTS]


def with_programs() -> Iterator[Any]:
    """Yield the documents that have some, those about torch for machines that have it."""
    for document in filter(programs, DOCUMENTS):
        needs_torch = any("import torch\n" in block.text for block in programs(document))
        yield pytest.param(document, marks=[pytest.mark.torch] if needs_torch else [], id=name_of(document))


@pytest.mark.parametrize("document", [*with_programs()])
def test_programs_run(document: Path, tmp_path: Path) -> None:
    """All programs of a document are one, with each line where it is in the document: errors name the place."""
    lines: list[str] = []
    for block in programs(document):
        lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    with Terminal(tmp_path) as terminal:
        script = terminal.folder / f"{document.stem}_md.py"
        script.write_text("\n".join([*lines, ""]))
        printed = terminal.python(script).splitlines()
    promised = PROMISED.findall("\n".join(lines))
    assert [line for line in printed if line in promised] == promised, "\n".join(printed)
    assert not any(line.startswith("Traceback") for line in printed), "\n".join(printed)


@pytest.mark.parametrize("block", all_blocks("toml"), ids=name_of)
def test_configuration_is_valid(block: Block, tmp_path: Path) -> None:
    text = block.text if "[app]" in block.text else f'[app]\nservice = "service:Entry"\n{block.text}'
    (tmp_path / "svcd.toml").write_text(text)
    for python in re.findall(r'python = "(.+?)"', text):
        (tmp_path / python).parent.mkdir(parents=True)
        (tmp_path / python).symlink_to("/bin/true")
    for secret in re.findall(r'file = "(.+?)"', text):
        (tmp_path / secret).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / secret).touch()
    environ = dict.fromkeys(re.findall(r"(\w+) = \{ from_host = true \}", text), "x")
    assert read(Sources(files=[tmp_path / "svcd.toml"], environ=environ)).entry.startswith("service:")


def test_the_readme_shows_the_quickstart_as_it_is() -> None:
    texts = {block.text for block in blocks(ROOT / "README.md")}
    for name in ("service.py", "svcd.toml"):
        assert (ROOT / "examples" / "quickstart" / name).read_text() in texts, name


def test_the_readme_draws_the_graph_as_it_is() -> None:
    drawn = next(block for block in blocks(ROOT / "README.md") if block.language == "mermaid")
    service = (ROOT / "examples" / "quickstart" / "service.py").read_text()
    edges = set(ARROW.findall(drawn.text)) - {("ingress", "Mood")}
    assert edges == {("Mood", callee) for callee in re.findall(r"svcd\.depends\((\w+)\)", service)}


@pytest.mark.parametrize("block", all_blocks("ini"), ids=name_of)
def test_the_unit_is_what_svcd_prints(block: Block, tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        printed = terminal.shell("svcd unit print 2>/dev/null | grep -v ^User=")  # there is none when root prints it
    assert pattern_of(block.text, figures_vary=False).fullmatch(tidy(printed)), printed


@pytest.mark.parametrize("block", all_blocks("sh"), ids=name_of)
def test_shell_lines_run(block: Block, tmp_path: Path) -> None:
    for target in TARGET.findall(block.text):
        subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True)
    if TARGET.sub("", block.text) == block.text:
        with Terminal(tmp_path) as terminal:
            terminal.up()
            assert terminal.shell(f"set -e\n{block.text}echo passed").endswith("passed\n")


def test_the_lifecycle_diagram_is_current() -> None:
    assert renewed(PAGE.read_text()) == PAGE.read_text(), "run: python tests/docs/lifecycle_diagram.py"
