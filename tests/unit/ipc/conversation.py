"""Two connections without a socket, and a conversation between them in which every kind of message is said."""

from __future__ import annotations

from typing import Any

import msgpack

from svcd_ipc import frames
from svcd_ipc.connection import Connection
from svcd_ipc.errors import (
    InvalidArgument,
)
from svcd_ipc.messages import (
    Call,
    Cancel,
    Credit,
    Drain,
    End,
    Error,
    Event,
    Fed,
    Feed,
    Item,
    Ping,
    Pong,
    Refused,
    Result,
    Want,
)


def events_of(connection: Connection) -> list[Event]:
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


def feed(connection: Connection, chunks: list[Any]) -> list[Event]:
    connection.receive_data(b"".join(chunks))
    return events_of(connection)


def greeted(**options: Any) -> tuple[Connection, Connection]:
    """Return two connections that have said hello to each other."""
    one, other = Connection(**options), Connection(**options)
    feed(other, one.send_hello({"service": "Entry", "replica": 0}))
    feed(one, other.send_hello({"service": "Classifier", "replica": 1}, ["x"]))
    return one, other


def raw(*message: Any) -> bytes:
    return frames.pack(msgpack.packb(list(message)))


def in_conversation() -> tuple[Connection, Connection]:
    """Return a caller with open calls 1 to 3 for a value, 3 with an input, 4 for a stream, and ping 5; and its callee.

    The callee has called back, with an input of which two items are wanted.
    """
    caller, callee = greeted()
    for number in range(1, 5):
        inputs = ["items"] if number == 3 else []
        feed(callee, caller.send_call("api", {"n": number}, window=3 if number == 4 else 0, inputs=inputs)[1])
    feed(callee, caller.send_ping(5))
    feed(caller, callee.send_call("back", {}, window=3, inputs=["items"])[1])
    feed(callee, caller.send_item(1, "item"))
    feed(callee, caller.send_want(1, 0, 2))
    return caller, callee


def said_by(callee: Connection) -> list[tuple[bytes, Event]]:
    """Return one message of every kind but hello as the callee says it, with the event that it should be."""
    said: list[tuple[list[Any], Event]] = [
        (
            callee.send_result(1, {"a": [1, "two", b"3", None]}, (3, 1)),
            Result(1, {"a": [1, "two", b"3", None]}, (3, 1)),
        ),
        (
            callee.send_error(2, InvalidArgument("no", [{"field": "x"}]), (2, 0)),
            Error(2, "invalid", "no", {"details": [{"field": "x"}]}, (2, 0)),
        ),
        (callee.send_want(3, 0, 4), Want(3, 0, 4)),
        (callee.send_busy(3, (9, 8)), Refused(3, (9, 8))),
        (callee.send_feed(1, 0, {"a": 1}), Feed(1, 0, {"a": 1}, 8)),
        (callee.send_fed(1, 0), Fed(1, 0)),
        (callee.send_item(4, "first"), Item(4, "first", 9)),
        (callee.send_item(4, [2.5]), Item(4, [2.5], 13)),
        (callee.send_end(4, (0, 0)), End(4, (0, 0))),
        (callee.send_pong(5), Pong(5)),
        (callee.send_ping(77), Ping(77)),
        (callee.send_drain(), Drain()),
        (callee.send_credit(1, 1), Credit(1, 1)),
        (callee.send_cancel(1), Cancel(1)),
        (
            callee.send_call("more", {"x": [1]}, deadline=12.5, trace="00-1-2-03", attempt=1, window=2)[1],
            Call(2, "more", {"x": [1]}, 12.5, "00-1-2-03", 1, 2),
        ),
        (
            callee.send_call("fed", {"x": 1}, inputs=["items", "others"])[1],
            Call(3, "fed", {"x": 1}, None, None, 0, 0, None, ("items", "others")),
        ),
        (callee.send_goodbye("that is all"), Error(0, "goodbye", "that is all", {}, (0, 0))),
    ]
    return [(b"".join(chunks), event) for chunks, event in said]


def received(caller: Connection, pieces: list[bytes]) -> list[Event]:
    return [event for piece in pieces if piece for event in feed(caller, [piece])]


ROGUE_HELLO = b"".join(Connection().send_hello({"service": "Rogue"}))
"""The first bytes of a peer that goes on as it should not."""
