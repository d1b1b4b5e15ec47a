"""Memory that two processes share: a sealed memfd, and what exports its bytes.

The owner maps it to write and only then seals it, so that no one else can ever map it so; a peer checks the seals and
the size before it maps it to read, so that no access can fail later.

A `Window` is the bottom owner of the bytes that a view shows: whatever is made of the view (slices, arrays, casts)
holds it, and when the last of them is gone, it notes that in a deque and does nothing else. Finalizers run anywhere, in
any thread, in the middle of anything: this one takes no lock and sends nothing. That it is a ctypes array is due to
Python 3.11, where no class written in Python can export a buffer.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import sys
from stat import S_ISREG
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

from svcd_ipc.raw import address_of
from svcd_ipc.space import PAGE

if TYPE_CHECKING:
    from collections import deque

_FUTURE_WRITE: Final = 0x10
"""F_SEAL_FUTURE_WRITE of linux/fcntl.h (Linux 5.1), which Python 3.11 does not name."""
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | _FUTURE_WRITE

LARGEST: Final = 1 << 40
"""Bytes of the largest memory that is mapped for a peer: address space is all that it costs."""

_MADV_HUGEPAGE: Final = 14
_MADV_POPULATE_WRITE: Final = 23
"""Since Linux 5.14; older kernels refuse it, and page faults do the work."""

_POPULATE: Final = 8 << 20
"""Bytes of new pages for which a thread is worth while. The kernel takes 0.7 ms for 1 MiB of them (measured), ten times
as long as a copy, and several threads get them side by side. Without pages of 2 MiB, that is: where the machine has
/sys/kernel/mm/transparent_hugepage/shmem_enabled at `advise`, they cost next to nothing."""

_MOST_THREADS: Final = 4

AHEAD: Final = 64 << 20
"""Bytes of pages that are got before they are needed, at most: they stay, whether they are needed or not."""

_STEP: Final = 2 << 20

_FAILED: Final = ctypes.c_void_p(-1).value


_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class NotSharedError(ValueError):
    """A descriptor is not the memory that it is said to be."""


class Mapping:
    """Bytes of a memfd in this process, until neither this nor any window on it is left.

    `lifeline` is a descriptor that is closed then; see `sharing`.
    """

    def __init__(self, descriptor: int, size: int, *, is_writable: bool, lifeline: int | None = None) -> None:
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if is_writable else 0)
        self.size = size
        self.is_writable = is_writable
        self.address: int | None = None
        address = _libc.mmap(None, size, protection, mmap.MAP_SHARED, descriptor, 0)
        if address == _FAILED:
            error = ctypes.get_errno()
            raise OSError(error, f"{size} bytes of shared memory cannot be mapped: {os.strerror(error)}")
        self.address = address
        self.lifeline = lifeline
        self._all: memoryview | None = None
        self._populated = 0
        """Bytes at the low end whose pages are there; what is used is used from there."""
        self._ahead: Thread | None = None
        """Gets pages."""
        self._kind = _window_kind(size)
        if is_writable:  # Far fewer page faults where the machine allows it; elsewhere it says no, which is no matter.
            _libc.madvise(address, size, _MADV_HUGEPAGE)

    def __repr__(self) -> str:
        return f"<Mapping of {self.size} bytes, {'writable' if self.is_writable else 'read-only'}>"

    def bytes_at(self, start: int, size: int) -> memoryview:
        """Return these bytes, writable where the mapping is; for use while the mapping is held."""
        if self._all is None:
            self._all = memoryview((ctypes.c_ubyte * self.size).from_address(self.address or 0)).cast("B")
        return self._all[start : start + size]

    def view(self, start: int, size: int, number: int, notes: deque[int]) -> memoryview:
        """Return a view of these bytes, writable where the mapping is.

        Once nothing made of it is left, `number` is in `notes`.
        """
        assert self.address is not None  # noqa: S101 - only a failed constructor leaves it so
        window = self._kind.from_address(self.address)
        window.mapping, window.number, window.notes = self, number, notes
        view = memoryview(window)[start : start + size].cast("B")
        # A ctypes array always says that it may be written to; whoever believed it here would crash.
        return view if self.is_writable else view.toreadonly()

    def populate(self, start: int, size: int) -> None:
        """Get the pages of a large part that is about to be filled for the first time."""
        end = start + size
        start = max(start, self._populated)
        self._populated = max(end, self._populated)
        count = min(_MOST_THREADS, len(os.sched_getaffinity(0)), (end - start) // _POPULATE)
        if count < 1:
            return
        length = -(-(end - start) // (count * PAGE)) * PAGE
        stripes = [((self.address or 0) + at, min(length, end - at)) for at in range(start, end, length)]
        threads = [
            Thread(target=_libc.madvise, args=(*stripe, _MADV_POPULATE_WRITE), daemon=True) for stripe in stripes[1:]
        ]
        for thread in threads:
            thread.start()
        _libc.madvise(*stripes[0], _MADV_POPULATE_WRITE)
        for thread in threads:
            thread.join()

    def is_populated(self, end: int) -> bool:
        """Whether all pages up to there are in place."""
        return end <= self._populated

    def populate_ahead(self, end: int) -> None:
        """Get pages on a thread of their own, up to `end` and no more than AHEAD, unless they are there or on the way.

        What is filled meanwhile is not waited for: it gets its own pages, and the thread ends.
        """
        end = min(end, AHEAD)
        if end > self._populated and (self._ahead is None or not self._ahead.is_alive()):
            self._ahead = Thread(target=self._populate_in_steps, args=(end,), daemon=True)
            self._ahead.start()

    def settle(self) -> None:
        """Get no more pages ahead, and wait for the step that is being made."""
        self._populated = self.size
        if self._ahead is not None:
            self._ahead.join()

    def _populate_in_steps(self, end: int) -> None:
        address = self.address or 0
        while (at := self._populated) < end:
            # Short steps: who maps or unmaps memory of this process waits for one.
            _libc.madvise(address + at, min(_STEP, end - at), _MADV_POPULATE_WRITE)
            if self._populated == at:
                self._populated = min(at + _STEP, end)

    def offset_of(self, value: Any) -> int:
        """Return where within the mapping the bytes of a contiguous view or array of it begin."""
        return address_of(value) - (self.address or 0)

    # Names of modules may be gone when the interpreter ends, so what is needed then is bound here.
    def __del__(self, unmap: Any = _libc.munmap, close: Any = os.close) -> None:
        if self.address is not None:
            unmap(self.address, self.size)
            if self.lifeline is not None:
                close(self.lifeline)


class Window:
    """What exports the bytes of a mapping; instances are ctypes arrays as long as the mapping."""

    mapping: Mapping
    number: int
    notes: deque[int]

    def __del__(self) -> None:
        self.notes.append(self.number)


_kinds: dict[int, Any] = {}
"""ctypes arrays of each length in use: few, as arenas of one app have one size."""


def _window_kind(size: int) -> Any:
    kind = _kinds.get(size)
    if kind is None:
        kind = _kinds[size] = type("Window", (Window, ctypes.c_ubyte * size), {})
    return kind


def create(size: int) -> tuple[int, Mapping]:
    """Return (descriptor, mapping) of new memory that only this process can write to. Raises OSError.

    It takes up no memory before it is written to.
    """
    descriptor = os.memfd_create("svcd-arena", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        mapping = Mapping(descriptor, size, is_writable=True)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, mapping


def attach(descriptor: int, size: int, lifeline: int) -> Mapping:
    """Map a peer's memory to read; of the descriptors the lifeline then belongs to the mapping.

    Raises NotSharedError for a descriptor that is not sealed memory of this size, OSError when it cannot be mapped.
    """
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise NotSharedError(f"its memory is no memfd: {error.strerror}") from None
    if seals & SEALS != SEALS:
        raise NotSharedError(f"its memory is not sealed against shrinking, growing and writing (seals 0x{seals:x})")
    found = os.fstat(descriptor)
    if not S_ISREG(found.st_mode) or found.st_size != size or not 0 < size <= LARGEST or size % PAGE:
        raise NotSharedError(f"its memory has {found.st_size} bytes, and not the {size} it announced")
    return Mapping(descriptor, size, is_writable=False, lifeline=lifeline)


def window_of(value: Any) -> Window | None:
    """Return the window that owns the bytes of a memoryview or array, or None where something else does."""
    numpy = sys.modules.get("numpy")
    while not isinstance(value, Window):
        if isinstance(value, memoryview):
            value = value.obj
        elif numpy is not None and isinstance(value, numpy.ndarray):
            value = value.base
        else:
            return None
    return value
