"""The documents' links within the repository lead somewhere."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from doc_blocks import DOCUMENTS, name_of

if TYPE_CHECKING:
    from pathlib import Path

_LINK = re.compile(r"\]\((?!https?:)(?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors_of(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = _HEADING.findall(document.read_text())
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    for link in _LINK.finditer(document.read_text()):
        target = (document.parent / link["file"]).resolve() if link["file"] else document
        assert target.exists(), f"{document.name}: {link[0]}"
        if link["anchor"]:
            assert link["anchor"] in anchors_of(target), f"{document.name}: {link[0]}"
