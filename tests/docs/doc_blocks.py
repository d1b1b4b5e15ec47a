"""The code blocks of the documents, with their places."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "examples").glob("*/README.md")]
)
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<language>\w*)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
_COMMAND = re.compile(r"^\$ (?P<command>.*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block."""

    document: Path
    line: int
    """Of its first line of text."""
    language: str
    text: str

    @property
    def place(self) -> str:
        """`docs/http.md:13`."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    def commands(self) -> list[tuple[str, str]]:
        """Return the commands of a console block, each with the output it should have."""
        found = [(match["command"], match["output"]) for match in _COMMAND.finditer(self.text)]
        assert found, f"{self.place}: a console block needs lines that begin with `$ `"
        assert self.text.startswith("$ "), f"{self.place}: a console block begins with a command"
        return found


@cache
def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document."""
    text = document.read_text()
    return [
        Block(document, text.count("\n", 0, match.start()) + 2, match["language"], match["text"])
        for match in _FENCE.finditer(text)
    ]


def all_blocks(*languages: str) -> list[Block]:
    """Return the blocks in these languages, of all documents."""
    return [block for document in DOCUMENTS for block in blocks(document) if block.language in languages]


def documents_with(language: str) -> list[Path]:
    """Return the documents that have a block in this language."""
    return [document for document in DOCUMENTS if any(block.language == language for block in blocks(document))]


def name_of(value: object) -> str | None:
    """Return the id of a test's parameter."""
    if isinstance(value, Block):
        return value.place
    return str(value.relative_to(ROOT)) if isinstance(value, Path) else None
