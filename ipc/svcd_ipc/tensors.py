"""torch's tensors: their bytes as they lie in memory, behind `dtype|shape|`.

What arrives is a tensor with memory of its own, copied out of the frame or the arena. PyTorch knows no read-only memory
(https://github.com/pytorch/pytorch/issues/44027): a tensor over a peer's arena would end the process with SIGSEGV when
it is written to. Values travel, and nothing of how they came about: a tensor that requires a gradient arrives as one
that does not, a view as what it shows, a parameter as a tensor.

torch is never imported here. A process that has not imported it has no tensors to send, and where one arrives it is
told what is missing; an import that takes seconds is not for the event loop.
"""

from __future__ import annotations

import sys
from math import prod
from typing import Any, Final

from svcd_ipc.raw import bytes_of, move

DTYPES: Final = frozenset(
    (
        *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
        *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
        *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"),
    )
)
"""torch's names of numbers in whole bytes. Not experimental ones, nor quantized ones, which need a scale."""


class Flat:
    """The bytes of a tensor, in C order, with what it is made of again."""

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: memoryview) -> None:
        self.dtype = dtype
        """torch's name."""
        self.shape = shape
        self.data = data
        """Holds the tensor."""


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor."""
    torch = sys.modules.get("torch")  # A process that has not imported it has no tensors, nor while it does.
    return torch is not None and isinstance(value, getattr(torch, "Tensor", ()))


def flat(tensor: Any) -> Flat:
    """Return the bytes of a tensor, its own where they lie in C order. Raises TypeError for one that cannot travel."""
    if reason := _why_not(tensor):
        raise TypeError(reason)
    try:
        plain = tensor.detach().resolve_conj().resolve_neg().contiguous()
        size, address = plain.numel() * plain.element_size(), plain.data_ptr()
    except RuntimeError as error:  # Those that stand for others inside of torch.func and torch.compile.
        raise TypeError(f"a {_kind(tensor)} cannot travel: {error}") from error
    if size and not address:
        raise TypeError(f"a {_kind(tensor)} without memory of its own cannot travel")
    return Flat(_name(plain.dtype), tuple(plain.shape), bytes_of(plain, address, size))


def made(dtype: str, shape: tuple[int, ...], data: memoryview) -> Any:
    """Return a tensor with a copy of the data. Raises ValueError when that is not possible."""
    torch = sys.modules.get("torch")
    if torch is None:
        raise ValueError(
            "a torch tensor has come, and this process has not imported torch: import it at the top of a module"
        )
    kind = getattr(torch, dtype, None) if dtype in DTYPES else None
    if kind is None:
        raise ValueError(f"a torch tensor of dtype {dtype!r:.40} has come, which torch {torch.__version__} here lacks")
    if prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"a torch tensor of {dtype} {shape} with {len(data)} bytes of data")
    tensor = torch.empty(shape, dtype=kind, device="cpu")
    if len(data):
        move(tensor.data_ptr(), data)
    return tensor


def _why_not(tensor: Any) -> str | None:
    """Say why a tensor does not travel, and what to do."""
    kind, device, layout = _kind(tensor), str(tensor.device), str(tensor.layout)
    troubles = (
        (tensor.is_nested, f"a nested {kind} cannot travel; send the list of its unbind()"),
        (tensor.is_quantized, f"a {kind} of {tensor.dtype} cannot travel; send its dequantize()"),
        (layout != "torch.strided", f"a {kind} of layout {layout} cannot travel; send its to_dense()"),
        (device == "meta", f"a {kind} on the device meta cannot travel; it has no data"),
        (device != "cpu", f"a {kind} on {device} cannot travel; send its cpu()"),
        (_name(tensor.dtype) not in DTYPES, f"a {kind} of {tensor.dtype} cannot travel; send its to() another dtype"),
    )
    return next((reason for is_so, reason in troubles if is_so), None)


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def _kind(tensor: Any) -> str:
    name = type(tensor).__name__
    return "torch tensor" if name == "Tensor" else f"torch {name}"
