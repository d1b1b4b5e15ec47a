"""Frames: every split of a stream gives the same bodies, and a bad length is refused before anything is allocated."""

from __future__ import annotations

import tracemalloc

import pytest

from svcd_ipc import frames
from svcd_ipc.errors import LocalProtocolError, RemoteProtocolError
from svcd_ipc.frames import FrameReader

BODIES = [b"x", b"two", b"\x00" * 300, b"last"]
STREAM = b"".join(frames.pack(body) for body in BODIES)


def read_all(reader: FrameReader) -> list[bytes]:
    found = []
    while (body := reader.next_frame()) is not None:
        found.append(bytes(body))
    return found


def read_in_pieces(pieces: list[bytes]) -> list[bytes]:
    reader = FrameReader()
    found = []
    for piece in pieces:
        reader.feed(piece)
        found += read_all(reader)
    assert reader.missing is None
    return found


def test_whole() -> None:
    assert read_in_pieces([STREAM]) == BODIES


def test_byte_by_byte() -> None:
    assert read_in_pieces([STREAM[at : at + 1] for at in range(len(STREAM))]) == BODIES


@pytest.mark.parametrize("at", range(1, len(STREAM)))
def test_split_in_two(at: int) -> None:
    assert read_in_pieces([STREAM[:at], STREAM[at:]]) == BODIES


def test_fed_again_before_all_was_taken() -> None:
    reader = FrameReader()
    for at in range(0, len(STREAM), 7):
        reader.feed(STREAM[at : at + 7])
    assert read_all(reader) == BODIES


@pytest.mark.parametrize("cut", range(1, len(STREAM)))
def test_missing_names_what_an_end_cuts_off(cut: int) -> None:
    reader = FrameReader()
    reader.feed(STREAM[:cut])
    whole = b"".join(frames.pack(body) for body in read_all(reader))
    assert (reader.missing is None) == (len(whole) == cut)


def test_missing_counts_bytes() -> None:
    reader = FrameReader()
    reader.feed(frames.pack(b"abcdef")[:7])
    assert read_all(reader) == []
    assert reader.missing == "3 of 6 bytes of a frame"


@pytest.mark.parametrize("length", [11, 2**31, 2**32 - 1])
def test_a_length_over_the_limit_is_refused_before_allocating(length: int) -> None:
    reader = FrameReader(limit=10)
    tracemalloc.start()
    try:
        reader.feed(length.to_bytes(4, "little"))
        with pytest.raises(RemoteProtocolError, match=rf"{length} bytes; the limit is 10"):
            reader.next_frame()
        assert tracemalloc.get_traced_memory()[1] < 64 * 1024
    finally:
        tracemalloc.stop()


def test_an_empty_frame_is_refused() -> None:
    reader = FrameReader()
    reader.feed(bytes(4))
    with pytest.raises(RemoteProtocolError, match="empty frame"):
        reader.next_frame()


def test_a_body_over_the_limit_is_not_packed() -> None:
    assert frames.pack(b"x" * 10, limit=10) == b"\x0a\0\0\0" + b"x" * 10
    with pytest.raises(LocalProtocolError, match="11 bytes; the limit is 10"):
        frames.pack(b"x" * 11, limit=10)


def test_a_large_frame_is_received_in_place() -> None:
    body = bytes(range(256)) * 1024
    stream = frames.pack(body) + frames.pack(b"next")
    reader = FrameReader()
    reader.feed(stream[:1000])
    assert reader.next_frame() is None
    at = 1000
    while (target := reader.writable()) is not None:
        count = min(len(target), 50_000)
        target[:count] = stream[at : at + count]
        reader.written(count)
        at += count
        if (found := reader.next_frame()) is not None:
            assert found == body
            break
    else:
        reader.feed(stream[at:])
        found = reader.next_frame()
        at = len(stream)
    assert found is not None
    assert found.readonly
    assert found == body
    reader.feed(stream[at:])
    assert read_all(reader) in ([b"next"], [])


def test_a_small_frame_is_not_received_in_place() -> None:
    reader = FrameReader()
    reader.feed(frames.pack(b"x" * 100)[:50])
    assert reader.next_frame() is None
    assert reader.writable() is None
