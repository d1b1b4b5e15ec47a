"""Bytes by their address, for what neither Python nor numpy gives: the buffers of others, without owning them."""

from __future__ import annotations

import ctypes
from typing import Any


class _Buffer(ctypes.Structure):
    """Py_buffer, part of Python's stable ABI since 3.11."""

    _fields_ = (
        *(("buf", ctypes.c_void_p), ("obj", ctypes.c_void_p), ("len", ctypes.c_ssize_t)),
        *(("itemsize", ctypes.c_ssize_t), ("readonly", ctypes.c_int), ("ndim", ctypes.c_int)),
        *((name, ctypes.c_void_p) for name in ("format", "shape", "strides", "suboffsets", "internal")),
    )


class _Owner(ctypes.c_ubyte * (1 << 46)):  # type: ignore[misc]  # a type made by a multiplication
    """Exports bytes that belong to something else, and holds that.

    As long as an address space, so that there is one such type and not one for each size; only slices of it are used.
    """

    owner: Any


def address_of(value: Any) -> int:
    """Return the address of a contiguous buffer."""
    buffer = _Buffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(value), ctypes.byref(buffer), 0)
    try:
        return int(buffer.buf)
    finally:
        ctypes.pythonapi.PyBuffer_Release(ctypes.byref(buffer))


def bytes_of(owner: Any, address: int, size: int) -> memoryview:
    """Return the bytes that lie at an address as long as `owner` lives; the view, and all that is made of it, holds it.

    They can be written to.
    """
    if not size:
        return memoryview(b"")
    found = _Owner.from_address(address)
    found.owner = owner
    return memoryview(found)[:size].cast("B")


def move(target: int, source: Any, start: int = 0, size: int | None = None) -> None:
    """Copy bytes of a contiguous buffer to an address. Other threads run meanwhile: ctypes lets go of the GIL."""
    ctypes.memmove(target, address_of(source) + start, memoryview(source).nbytes if size is None else size)
