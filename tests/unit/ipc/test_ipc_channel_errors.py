"""What goes wrong in a call over a real socket pair, and who is told of it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from ipc_handlers import echo

from svcd_ipc.channel import Channel, IncomingCall, Limits
from svcd_ipc.errors import (
    BadResult,
    EncodeError,
    InvalidArgument,
    RemoteError,
    ServiceUnavailable,
    UnknownApi,
)


async def test_a_typed_error_arrives_as_it_was_raised(join: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        raise InvalidArgument("bad image", [{"field": "image", "message": "empty"}])

    caller, _ = await join(handler)
    with pytest.raises(InvalidArgument, match="bad image") as caught:
        await caller.call("api", {})
    assert caught.value.details == [{"field": "image", "message": "empty"}]


@pytest.mark.parametrize("wait", [True, False])
async def test_any_other_error_arrives_with_its_traceback(join: Any, wait: bool) -> None:
    async def handler(_call: IncomingCall) -> Any:
        if wait:
            await trio.lowlevel.checkpoint()
        raise KeyError("nope")

    caller, callee = await join(handler)
    with pytest.raises(RemoteError) as caught:
        await caller.call("api", {})
    assert (caught.value.type_name, caught.value.message) == ("KeyError", "'nope'")
    assert "in handler" in caught.value.remote_traceback
    assert "svcd_ipc" not in caught.value.remote_traceback
    assert callee.serving == 0


async def test_a_traceback_over_three_hops(join: Any) -> None:
    async def third(_call: IncomingCall) -> Any:
        raise ValueError("deep")

    async def second(call: IncomingCall) -> Any:
        return await to_third.call(call.api, call.args)

    to_third, _ = await join(third)
    to_second, _ = await join(second)
    with pytest.raises(RemoteError, match="ValueError: deep") as caught:
        await to_second.call("api", {})
    assert "in third" in caught.value.remote_traceback
    assert "in second" in caught.value.remote_traceback


async def test_an_error_alone_in_a_group_is_that_error(join: Any) -> None:
    async def fail() -> None:
        raise ServiceUnavailable("Features: failed")

    async def handler(_call: IncomingCall) -> Any:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    caller, _ = await join(handler)
    with pytest.raises(ServiceUnavailable, match="Features: failed"):
        await caller.call("api", {})


async def test_a_group_of_errors_is_told_as_one(join: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        raise ExceptionGroup("two", [ValueError("a"), KeyError("b")])

    caller, _ = await join(handler)
    with pytest.raises(RemoteError) as caught:
        await caller.call("api", {})
    assert caught.value.type_name == "ExceptionGroup"
    assert "ValueError: a" in caught.value.remote_traceback


async def test_a_result_that_cannot_travel_names_place_and_api_and_spoils_nothing(join: Any) -> None:
    async def handler(call: IncomingCall) -> Any:
        return {"scores": [1, {2}]} if call.api == "bad" else "fine"

    caller, _ = await join(handler)
    with pytest.raises(BadResult, match=r"Classifier/1\.bad returned what cannot travel: result\.scores\[1\]: a set"):
        await caller.call("bad", {})
    assert await caller.call("good", {}) == "fine"


async def test_a_result_that_is_too_large_names_size_and_limit(join: Any) -> None:
    async def handler(_call: IncomingCall) -> Any:
        return bytes(20_000)

    caller, _ = await join(handler, limits=Limits(frame=10_000))
    with pytest.raises(BadResult, match=r"200\d\d bytes .* limit of a frame is 10000"):
        await caller.call("api", {})


async def test_arguments_that_cannot_travel_are_not_sent(join: Any) -> None:
    caller, _ = await join(echo)
    with pytest.raises(EncodeError, match=r"^Classifier/1\.api: args\.image\[3\]: a set"):
        await caller.call("api", {"image": [0, 0, 0, set()]})
    assert caller.in_flight == 0
    assert await caller.call("echo", {}) == {}


async def test_arguments_that_cannot_be_read_there_spoil_only_the_call(join: Any, monkeypatch: Any) -> None:
    from svcd_ipc import exttypes

    class Odd:
        pass

    monkeypatch.setattr(exttypes, "_packers", {Odd: (99, lambda _: b"")})
    caller, _ = await join(echo)
    with pytest.raises(InvalidArgument, match=r"Classifier/1\.echo: args: ext type 99 is not registered here"):
        await caller.call("echo", {"x": Odd()})
    assert await caller.call("echo", {}) == {}


async def test_a_side_without_a_handler_knows_no_api(join: Any) -> None:
    caller, _ = await join(None)
    with pytest.raises(UnknownApi, match="takes no calls"):
        await caller.call("api", {})


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
async def test_what_ends_the_process_is_not_swallowed(kind: type[BaseException], wait: bool) -> None:
    async def handler(_call: IncomingCall) -> Any:
        if wait:
            await trio.lowlevel.checkpoint()
        raise kind

    import socket

    one, other = socket.socketpair()
    caller = Channel(one, identity={})
    callee = Channel(other, identity={}, handler=handler)

    async def call() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(callee.run)
            await nursery.start(caller.run)
            await caller.call("api", {})

    with pytest.raises(BaseExceptionGroup) as caught:
        await call()
    assert caught.value.split(kind)[0] is not None
