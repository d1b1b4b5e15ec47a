"""Whatever is taken for a plain request is one, and read as h11 reads it; what is written is what h11 would write."""

from __future__ import annotations

import h11
from hypothesis import example, given
from hypothesis import strategies as st

from svcd.ingress.plain import read_plain, write_plain

HEADS = st.sampled_from(
    [
        *(b"host: a", b"Host:b", b"HOST : c", b"content-length: 4", b"Content-Length:\t4 ", b"content-length: 04"),
        *(
            b"content-length: 4, 4",
            b"content-length: +4",
            b"content-length: 5",
            b"content-length: ",
            b"content-length:4_0",
        ),
        *(b"transfer-encoding: chunked", b"Transfer-Encoding: x", b"connection: close", b"Connection: Keep-Alive"),
        *(b"connection: keep-alive, close", b"connection: upgrade", b"upgrade: h2c", b"expect: 100-continue"),
        *(b"content-type: application/json", b"x:", b"x: a \t b", b" x: folded", b"\tfolded", b"x", b": x", b"", b"\r"),
        *(b"accept: */*", b"x: \xe4", b"x: \x00", b"x: \x01", b"x: a\nhost: b", b"x: a\rb", b"x\xe4: a", b"trailer: x"),
    ]
)
FIRSTS = st.sampled_from(
    [
        *(b"POST /a HTTP/1.1", b"POST /a?b=%20 HTTP/1.1", b"POST / HTTP/1.0", b"GET /a HTTP/1.1", b"post /a HTTP/1.1"),
        *(b"POST  /a HTTP/1.1", b"POST /a b HTTP/1.1", b"POST http://a/ HTTP/1.1", b"POST * HTTP/1.1", b"POST /a"),
        *(
            b"PRI * HTTP/2.0",
            b"POST /\xe4 HTTP/1.1",
            b"\r\nPOST /a HTTP/1.1",
            b" POST /a HTTP/1.1",
            b"CONNECT a:1 HTTP/1.1",
        ),
    ]
)
ENDS = st.sampled_from([b"\r\n\r\n", b"\r\n\n", b"\n\n", b"\r\n", b"\r\n\r\n\r\n"])
BODIES = st.sampled_from(
    [b"abcd", b"abc", b"", b"abcde", b"a\r\n\r\n", b"\r\n\r\n", b"abcdPOST /a HTTP/1.1\r\nhost: a\r\n\r\n"]
)
TEXTS = st.text("abc/-;= \t\r\n\x00\x7f\xe4", max_size=6).map(lambda text: text.encode("latin-1"))


def seen_by_h11(data: bytes) -> list[object]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    events: list[object] = []
    while True:
        event = connection.next_event()
        if event in (h11.NEED_DATA, h11.PAUSED):
            assert connection.trailing_data == (b"", False)
            assert connection.our_state is h11.SEND_RESPONSE
            assert not connection.they_are_waiting_for_100_continue
            return events
        events.append(event)


@given(FIRSTS, st.lists(HEADS, max_size=6), ENDS, BODIES)
@example(b"POST /a HTTP/1.1", [b"host: a", b"content-length: 4"], b"\r\n\r\n", b"abcd")
@example(
    b"POST /a?b HTTP/1.1", [b"Content-Length:\t4 ", b"Host:b", b"Connection: Keep-Alive", b"x: "], b"\r\n\r\n", b"abcd"
)
def test_what_is_plain_is_read_as_h11_reads_it(first: bytes, lines: list[bytes], end: bytes, body: bytes) -> None:
    data = b"\r\n".join([first, *lines]) + end + body
    plain = read_plain(data)
    if plain is None:
        return
    head, middle, last = seen_by_h11(data)
    assert isinstance(head, h11.Request)
    assert isinstance(middle, h11.Data)
    assert isinstance(last, h11.EndOfMessage)
    assert (head.method, head.target, head.http_version) == (b"POST", plain.target, b"1.1")
    assert list(head.headers) == plain.headers
    assert bytes(middle.data) == plain.body


@given(st.text("PpOoSsTt/ aHhTtPp1.01:\r\n-content-length: 4host", max_size=80))
def test_no_scraps_are_taken_for_more_than_h11_sees(text: str) -> None:
    plain = read_plain(text.encode())
    assert plain is None or len(seen_by_h11(text.encode())) == 3


def test_what_clients_send_is_plain() -> None:
    for more in (
        b"",
        b"Accept: */*\r\nUser-Agent: curl/8.5.0\r\n",
        b"connection: keep-alive\r\naccept-encoding: gzip\r\n",
    ):
        data = b"POST /score HTTP/1.1\r\nHost: a:1\r\n%sContent-Length: 2\r\n\r\n{}" % more
        assert read_plain(data) is not None
        assert read_plain(data + b"P") is None
        assert read_plain(data[:-1]) is None


@given(st.lists(st.tuples(st.sampled_from([b"content-type", b"vary", b"x"]), TEXTS), max_size=4))
def test_what_is_written_is_what_h11_would_write(headers: list[tuple[bytes, bytes]]) -> None:
    headers = [*headers, (b"content-length", b"4")]
    written = write_plain(200, headers, b"abcd")
    if written is None:
        return
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n")
    connection.next_event()
    parts = (h11.Response(status_code=200, headers=headers), h11.Data(data=b"abcd"), h11.EndOfMessage())
    assert written == b"".join(connection.send(part) or b"" for part in parts)
