"""torch's tensors arrive as tensors with memory of their own, or are refused with what to send in their place."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest
import trio

from svcd_ipc import exttypes, tensors
from svcd_ipc.buffers import LEND
from svcd_ipc.codec import ATTACH, DecodeError, UndecodableError, decode, encode, pack_body, transfer, unpack_body
from svcd_ipc.errors import EncodeError, InvalidArgument
from svcd_ipc.memory import Memory
from svcd_ipc.staging import LARGE

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.torch

SIZES = (0, 10, ATTACH, LEND, LARGE)
"""Bytes that stand in the text, are attached, lent, and copied on a thread."""


@pytest.fixture
def torch() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It is not this import that is tested.
        import torch  # type: ignore[import-not-found, unused-ignore]  # not everybody has it
    return torch


@pytest.mark.parametrize("name", sorted(tensors.DTYPES))
def test_all_dtypes(torch: Any, name: str) -> None:
    sent = torch.arange(64, dtype=torch.uint8).reshape(2, 32).view(getattr(torch, name))
    for arrived in (transfer([sent])[0], decode(encode(sent))):
        assert arrived.dtype is sent.dtype
        assert arrived.shape == sent.shape
        assert torch.equal(arrived.view(torch.uint8), sent.view(torch.uint8))


def test_views_arrive_as_what_they_show(torch: Any) -> None:
    whole = torch.arange(20_000.0)
    numbers = torch.tensor([1 + 2j, 3 - 4j])
    for sent in (
        *(torch.tensor(3.5), torch.empty(0, 3), whole[::2], whole.reshape(100, 200).t(), whole[5:]),
        *(torch.ones(1, 3).expand(9000, 3), numbers.conj(), numbers.conj().imag, numbers.real),
    ):
        arrived = transfer({"of": [sent]})["of"][0]
        assert arrived.shape == sent.shape
        assert torch.equal(arrived, sent)
        assert arrived.is_contiguous()


def test_gradients_and_parameters_stay_behind(torch: Any) -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    for sent in (weight, weight * 2):
        arrived = transfer(sent)
        assert type(arrived) is torch.Tensor
        assert not arrived.requires_grad
        assert torch.equal(arrived, sent.detach())
    assert weight.requires_grad


def test_a_default_device_is_not_where_tensors_arrive(torch: Any) -> None:
    with torch.device("meta"), torch.inference_mode():
        arrived = transfer(torch.ones(3, device="cpu"))
    assert arrived.tolist() == [1, 1, 1]


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
def test_what_cannot_travel_says_what_can(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode  # type: ignore[import-not-found, unused-ignore]  # as above

    with FakeTensorMode():
        fake = torch.ones(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # It calls its own prototypes that.
        scaled = torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)
        nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    for sent, message in (
        (torch.ones(3, device="meta"), "a torch tensor on the device meta cannot travel; it has no data"),
        (torch.ones(3).to_sparse(), "a torch tensor of layout torch.sparse_coo cannot travel; send its to_dense()"),
        (scaled, "a torch tensor of torch.qint8 cannot travel; send its dequantize()"),
        (nested, "a nested torch tensor cannot travel; send the list of its unbind()"),
        (fake, "a torch FakeTensor without memory of its own cannot travel"),
    ):
        with pytest.raises(EncodeError) as caught:
            transfer({"x": [sent]})
        assert str(caught.value) == f"value.x[0]: {message}"
    ours = torch.ones(3)
    monkeypatch.setattr(torch.Tensor, "device", "cuda:1")  # As one says it that is there.
    with pytest.raises(EncodeError, match=r"^value: a torch tensor on cuda:1 cannot travel; send its cpu\(\)$"):
        transfer(ours)


def test_a_tensor_inside_of_a_transform_is_refused(torch: Any) -> None:
    def inner(x: Any) -> Any:
        with pytest.raises(EncodeError, match="a torch tensor cannot travel: Cannot access data pointer"):
            transfer(x)
        return x.sum()

    torch.func.grad(inner)(torch.ones(3))


def test_a_process_without_torch_says_so(torch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = encode(torch.ones(3))
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(DecodeError, match="this process has not imported torch: import it at the top of a module"):
        decode(text)
    assert not tensors.is_tensor(object())


@pytest.mark.parametrize(
    ("head", "data", "message"),
    [
        ("float32|3|", bytes(8), r"a torch tensor of float32 \(3,\) with 8 bytes of data"),
        ("float32|-3|", b"", "shape '-3' is not accepted"),
        (f"float32|{2**62},{2**62}|", b"", "with 0 bytes of data"),
        ("qint8|3|", bytes(3), "dtype 'qint8' has come, which torch .* here lacks"),
        ("ones|3|", bytes(3), "dtype 'ones' has come"),
        ("__name__|3|", bytes(3), "dtype '__name__' has come"),
        ("float32|3", bytes(12), "cannot be read"),
        ("Float32|3|", bytes(12), "is not accepted"),
    ],
)
def test_hostile_tensors_are_refused(torch: Any, head: str, data: bytes, message: str) -> None:
    payload = head.ljust(-(-len(head) // 16) * 16).encode()
    with pytest.raises(DecodeError, match=message):
        exttypes.unpack(exttypes.TENSOR, payload + data)
    with pytest.raises(DecodeError, match=message):
        exttypes.hook((memoryview(data),))(exttypes.ATTACHED_TENSOR, payload + b"0")
    with pytest.raises(DecodeError):
        exttypes.hook(())(exttypes.ATTACHED_TENSOR, payload + b"7")


def test_attachments_are_the_tensors_own_bytes(torch: Any) -> None:
    sent = torch.zeros(ATTACH, dtype=torch.uint8)
    pieces = pack_body([0, sent], of=1, root="value")
    sent[0] = 7  # seen in what was not copied
    arrived = unpack_body(memoryview(b"".join(pieces)))[1]
    assert arrived[0] == 7
    with pytest.raises(UndecodableError):
        unpack_body(b"\x92\x00\xc7\x01\x0c\x00")


@pytest.fixture
def arenas() -> Iterator[tuple[Memory, Memory]]:
    """Two arenas, of which nothing is in use after the test."""
    pair = Memory(4 * LARGE), Memory(4 * LARGE)
    yield pair
    for memory in pair:
        assert memory.used == 0
        memory.close()


@pytest.mark.parametrize("shares", [True, False], ids=["arena", "socket"])
async def test_receivers_that_write_harm_nobody(torch: Any, join: Any, arenas: Any, shares: bool) -> None:
    mine, theirs = arenas

    async def answer(call: Any) -> Any:
        x = call.args["x"]
        x += 1
        return {"same": x, "list": [x]}

    options = {"caller": {"memory": mine}, "memory": theirs} if shares else {}
    channel, _ = await join(answer, **options)
    for size in SIZES:
        sent = torch.zeros(size, dtype=torch.uint8)
        answers: list[Any] = []

        async def ask(sent: Any = sent, answers: list[Any] = answers) -> None:
            answers.append(await channel.call("add", {"x": sent}))

        async with trio.open_nursery() as nursery:  # one tensor to several at once
            for _ in range(3):
                nursery.start_soon(ask)
        for answered in answers:
            assert answered["same"].shape == (size,)
            assert (answered["same"] == 1).all()
            answered["same"] += 1
            assert (answered["list"][0] == 1).all()  # of its own, as all that arrives
        assert (sent == 0).all()
    with pytest.raises(EncodeError, match=r"args.x: a torch tensor on the device meta"):
        await channel.call("add", {"x": torch.empty(LARGE, device="meta", dtype=torch.uint8)})
    assert await channel.call("add", {"x": torch.zeros(3)})  # gives back the last that was lent


async def test_a_tensor_that_the_callee_cannot_make_fails_its_call_alone(
    torch: Any, join: Any, arenas: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, theirs = arenas

    async def answer(call: Any) -> Any:
        return call.args

    channel, _ = await join(answer, caller={"memory": mine}, memory=theirs)
    sent = torch.zeros(LEND, dtype=torch.uint8)
    with monkeypatch.context() as patched:
        patched.setattr(tensors, "DTYPES", frozenset(("uint8",)))
        patched.setattr(torch, "uint8", None)
        with pytest.raises(InvalidArgument, match="a torch tensor of dtype 'uint8' has come"):
            await channel.call("echo", {"x": sent})
    assert torch.equal((await channel.call("echo", {"x": sent}))["x"], sent)
    await channel.call("echo", {})
