"""The trace context: continued when it is valid, begun otherwise."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.ingress.trace import continue_trace

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
VALID = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def test_a_valid_trace_is_continued_under_a_new_parent() -> None:
    version, trace, parent, flags = continue_trace(f"00-{TRACE}-{PARENT}-01".encode()).split("-")
    assert (version, trace, flags) == ("00", TRACE, "01")
    assert parent != PARENT


def test_a_later_version_is_continued_as_version_00() -> None:
    assert continue_trace(f"cc-{TRACE}-{PARENT}-01-what-the-future-says".encode()).startswith(f"00-{TRACE}-")


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        f"ff-{TRACE}-{PARENT}-01".encode(),
        f"00-{'0' * 32}-{PARENT}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE.upper()}-{PARENT}-01".encode(),
        f"00-{TRACE}-{PARENT}-01-more".encode(),
        f"00-{TRACE}-{PARENT}".encode(),
    ],
)
def test_anything_else_begins_an_unsampled_trace(header: bytes | None) -> None:
    began = continue_trace(header)
    assert VALID.fullmatch(began)
    assert TRACE not in began
    assert began.endswith("-00")


@given(st.binary(max_size=80))
def test_what_is_passed_on_is_always_valid(header: bytes) -> None:
    assert VALID.fullmatch(continue_trace(header))
