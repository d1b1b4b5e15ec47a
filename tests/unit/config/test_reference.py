"""The reference in the docs is what the schema says, and the schema is complete in itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tomli

from svcd.config import reference, schema

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_up_to_date():
    page = PAGE.read_text("utf-8")
    assert reference.renewed(page) == page, f"run: python -m svcd.config.reference {PAGE}"


def test_renewing_a_page(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n", "utf-8")
    subprocess.run([sys.executable, "-m", "svcd.config.reference", str(page)], check=True)
    text = page.read_text("utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert reference.markdown() in text
    with pytest.raises(ValueError, match="the page has no"):
        reference.renewed("nothing")


@pytest.mark.parametrize("key", schema.KEYS, ids=lambda key: key.path)
def test_each_key_can_be_found_and_its_default_is_a_value_it_takes(key: schema.Key):
    assert schema.find(tuple(key.path.split("."))) is key
    assert key.help.endswith((".", "`", ")"))
    if key.default is not None:
        written = tomli.loads(f"value = {key.kind.write(key.default)}")["value"]
        assert key.kind.read(written) == key.default


def test_decorator_and_schema_have_the_same_keys():
    declare = pytest.importorskip("svcd.app.declare")
    in_decorator = {
        name for name, node in schema.SERVICE.children.items() if isinstance(node, schema.Table) or node.in_decorator
    }
    assert in_decorator == declare.OPTIONS
