"""Times of calls: what a result brings, how they are summed, and what a peer may not send."""

from __future__ import annotations

import re
from typing import Any

import msgpack
import pytest

from svcd_ipc import frames
from svcd_ipc.connection import Connection
from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.messages import Result
from svcd_ipc.timing import MOST_NAMES, Timing


def test_times_are_summed_by_name() -> None:
    timing = Timing(began=10.0)
    timing.join("Words.split", [5, 100, {"Deep.slow": [2, 3, 40]}])
    timing.join("Words.split", [1, 50, {"Deep.slow": [1, 0, 10]}])
    timing.wait("Words.split", 0.001)
    timing.queued += 0.25
    assert timing.told(11.0) == [250_000, 750_000, {"Words.split": [2, 1006, 150], "Deep.slow": [3, 3, 50]}]


def test_names_beyond_the_most_are_left_out() -> None:
    timing = Timing(began=0.0)
    for number in range(MOST_NAMES + 5):
        timing.add(f"S.api{number}", 0, 1)
    assert len(timing.told(0.0)[2]) == MOST_NAMES


def answered(timing: Any) -> Result:
    """Return the event of a result with these times."""
    connection = Connection()
    hello = b"".join(Connection().send_hello({}))
    connection.send_call("api", {}, trace="00-1-2-00")
    connection.receive_data(hello + frames.pack(msgpack.packb([2, 1, "value", 0, 0, timing])))
    connection.next_event()
    event = connection.next_event()
    assert isinstance(event, Result)
    return event


def test_a_result_brings_them() -> None:
    event = answered([1, 2, {"A.b": [1, 2, 3]}])
    assert (event.value, event.timing) == ("value", [1, 2, {"A.b": [1, 2, 3]}])


@pytest.mark.parametrize(
    "bad",
    [
        *(None, 7, [], [1, 2], [1, 2, []], [-1, 2, {}], [1, 2.5, {}], [True, 2, {}]),
        *([1, 2, {"a": 3}], [1, 2, {"a": [1, 2]}], [1, 2, {"a": [1, 2, -3]}], [1, 2, {b"a": [1, 2, 3]}]),
        [1, 2, {str(n): [1, 2, 3] for n in range(MOST_NAMES + 1)}],
    ],
    ids=repr,
)
def test_what_is_no_time_ends_the_connection(bad: Any) -> None:
    with pytest.raises(RemoteProtocolError, match=re.escape("the peer sent a malformed result")):
        answered(bad)
