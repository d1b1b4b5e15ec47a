"""Records among plain output: what is written is read back, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.values.records import SEPARATOR, Record, plain_lines, read, write

TEXT = st.text(st.characters(codec="utf-8"))


@given(st.builds(Record, TEXT, TEXT, TEXT, TEXT, TEXT), TEXT.map(lambda text: text.replace(SEPARATOR, "")))
def test_a_record_is_read_back_with_what_stood_before_it(record: Record, before: str) -> None:
    line = write(record)
    assert "\n" not in line
    assert read(before + line) == (before, record)


@pytest.mark.parametrize("line", ["", "plain", SEPARATOR, f"{SEPARATOR}{{", f"{SEPARATOR}[1]", f"a{SEPARATOR}3"])
def test_what_is_no_record_is_plain(line: str) -> None:
    assert read(line) == (line, None)
    assert plain_lines(line) == [line]


def test_people_read_message_and_traceback_as_lines() -> None:
    line = "half" + write(Record("ERROR", "a.b", "it\nfailed", "abc", "Traceback\n  ValueError\n"))
    assert plain_lines(line) == ["half", "ERROR a.b: it", "failed [trace abc]", "Traceback", "  ValueError"]
