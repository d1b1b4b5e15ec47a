"""Forms: what fields they have, and what is wrong with those that cannot be read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from svcd.ingress.forms import MAX_FIELDS, is_form, parse_form
from svcd.ingress.problems import RefusedError

MULTIPART = "multipart/form-data; boundary=xyz"
URLENCODED = "application/x-www-form-urlencoded"


def part(disposition: str, value: bytes) -> bytes:
    return b"--xyz\r\ncontent-disposition: form-data; " + disposition.encode() + b"\r\n\r\n" + value + b"\r\n"


END = b"--xyz--\r\n"


def test_which_bodies_are_forms() -> None:
    assert is_form("Multipart/Form-Data; boundary=x")
    assert is_form(URLENCODED)
    assert not is_form("application/json")
    assert not is_form("")


def test_a_file_is_bytes_and_a_field_is_text() -> None:
    body = (
        part('name="image"; filename="a.png"', b"\x89PNG\r\n\x1a\n")
        + part('name="lang"', "fran\u00e7ais".encode())
        + END
    )
    assert parse_form(MULTIPART, body) == {"image": b"\x89PNG\r\n\x1a\n", "lang": "fran\u00e7ais"}


def test_an_empty_form_has_no_fields() -> None:
    assert parse_form(MULTIPART, END) == {}
    assert parse_form(URLENCODED, b"") == {}


def test_a_field_that_comes_more_than_once_has_all_its_values() -> None:
    assert parse_form(URLENCODED, b"a=1&b=2&a=3") == {"a": ["1", "3"], "b": "2"}
    files = part('name="a"; filename="1"', b"one") + part('name="a"; filename="2"', b"two")
    assert parse_form(MULTIPART, files + END) == {"a": [b"one", b"two"]}


def test_urlencoded_fields_are_text() -> None:
    assert parse_form(URLENCODED, b"text=a+b%26c&empty=") == {"text": "a b&c", "empty": ""}


@given(
    st.dictionaries(st.sampled_from(["a", "b", "c"]), st.binary(max_size=200).filter(lambda b: b"\r\n--xyz" not in b))
)
def test_files_arrive_as_they_were_sent(files: dict[str, bytes]) -> None:
    body = b"".join(part(f'name="{name}"; filename="f"', data) for name, data in files.items()) + END
    assert parse_form(MULTIPART, body) == files


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("multipart/form-data", END, "names no boundary"),
        (f"multipart/form-data; boundary={'x' * 300}", END, "oundary"),
        (MULTIPART, b"", "ends before its last boundary"),
        (MULTIPART, part('name="a"', b"1"), "ends before its last boundary"),
        (MULTIPART, b"garbage", "the form cannot be read"),
        (MULTIPART, part('filename="a"', b"1") + END, "no name"),
        (MULTIPART, part('name="a"', b"\xff\xfe") + END, "not UTF-8"),
        (MULTIPART, b"".join(part(f'name="f{i}"', b"") for i in range(MAX_FIELDS + 1)) + END, "more than"),
        (URLENCODED, b"a=%ff", "the form cannot be read"),
        (URLENCODED, b"a=\xff", "the form cannot be read"),
        (URLENCODED, b"&".join(b"f%d=" % i for i in range(MAX_FIELDS + 1)), "the form cannot be read"),
        (URLENCODED, b' {"text": "a"}', "looks like JSON"),
    ],
)
def test_what_is_no_form_is_refused_with_the_reason(content_type: str, body: bytes, says: str) -> None:
    with pytest.raises(RefusedError, match=says) as caught:
        parse_form(content_type, body)
    assert caught.value.problem.status in (400, 415)


@given(st.binary(max_size=300))
def test_no_garbage_does_more_than_be_refused(body: bytes) -> None:
    for content_type in (MULTIPART, URLENCODED):
        try:
            form = parse_form(content_type, body)
        except RefusedError:
            continue
        assert all(isinstance(value, str | bytes) for value in form.values())
