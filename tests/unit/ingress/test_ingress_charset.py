"""Text comes in one of a few charsets; the ingress says which where it comes in another."""

from __future__ import annotations

from typing import Any

import pytest

from svcd.ingress.calls import check_encoding
from svcd.ingress.exchange import Exchange
from svcd.ingress.problems import RefusedError
from svcd.values import media
from svcd.worker.bodies import items_of


async def receive() -> Any:
    raise AssertionError("the body is not looked at")


async def send(message: Any) -> None:
    raise AssertionError(message)


def post(content_type: str) -> Exchange:
    headers = [(b"content-type", content_type.encode())]
    scope = {"method": "POST", "path": "/a", "raw_path": b"/a", "query_string": b"", "headers": headers}
    return Exchange(scope, receive, send)


@pytest.mark.parametrize("charset", ["nope", "utf-16", "zlib", "hex", "windows-1252", ""])
async def test_another_charset_is_a_415_that_names_those_there_are(charset: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check_encoding(post(f"Text/Plain; charset={charset}"))
    problem = caught.value.problem
    assert (problem.status, problem.code) == (415, "media_type")
    told = f"charset={charset} is not supported; send the text as one of utf-8, us-ascii, iso-8859-1"
    assert problem.message == told


@pytest.mark.parametrize(
    "content_type", ["text/plain", "text/plain;charset=UTF8", 'text/csv; charset="latin1"', "image/png; charset=nope"]
)
async def test_what_can_be_read_is_let_in(content_type: str) -> None:
    check_encoding(post(content_type))


async def test_a_text_that_comes_in_pieces_is_decoded_by_its_charset() -> None:
    items = items_of(b"gr\xfc\xdfe", media.TEXT, "Words.count: text", "latin-1")
    assert [item async for item in items] == ["grüße"]
