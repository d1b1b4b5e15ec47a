"""The inventory of GPUs, read by a child that can be killed; no driver, a sick one and a crash are all just no GPUs."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from svcd.values.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

NVML_ARGV: Final = (sys.executable, "-P", "-m", "svcd.host.nvml")
"""The reader of an installed svcd; the packed program gives its own."""
TIMEOUT: Final = 15.0
"""Seconds for the driver to answer. Without persistence mode it initialises every card first, which takes seconds."""
_DEATH = 0.5
"""Seconds to wait for a killed reader; one that hangs in the driver does not even die."""


async def read_inventory(
    argv_prefix: Sequence[str] = NVML_ARGV,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,  # noqa: ASYNC109 - running into it is an answer here, not an exception
) -> Inventory:
    """Return the GPUs of this machine; when there are none, or they cannot be read, `problem` says why.

    `argv_prefix` runs `svcd.host.nvml.main`. Call it in the main thread: the child dies with the thread that starts it.
    """
    import trio  # noqa: PLC0415 - `svcd gpus` does without, and `svcd up` orders its keeper before it takes the time

    with _reading(argv_prefix, env) as (child, ended, output):
        with trio.move_on_after(timeout):
            await trio.lowlevel.wait_readable(ended)
        return _result(child, output, timeout)


def read_inventory_blocking(
    argv_prefix: Sequence[str] = NVML_ARGV, *, env: Mapping[str, str] | None = None, timeout: float = TIMEOUT
) -> Inventory:
    """Like `read_inventory`, for a program that has no loop."""
    with _reading(argv_prefix, env) as (child, ended, output):
        select.select([ended], [], [], timeout)
        return _result(child, output, timeout)


@contextmanager
def _reading(
    argv_prefix: Sequence[str], env: Mapping[str, str] | None
) -> Iterator[tuple[subprocess.Popen[bytes], int, IO[bytes]]]:
    """Run the reader: the child, a pidfd of it, and the file that it prints to, which nobody has to pump."""
    with tempfile.TemporaryFile() as output:
        argv = [*argv_prefix, str(os.getpid())]
        child = subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        ended = os.pidfd_open(child.pid)
        try:
            yield child, ended, output
        finally:
            os.close(ended)
            child.kill()
            try:
                child.wait(_DEATH)
            except subprocess.TimeoutExpired:
                child.returncode = -1  # it is left to the kernel; Popen would warn of it


def _result(child: subprocess.Popen[bytes], output: IO[bytes], timeout: float) -> Inventory:
    code = child.poll()
    if code is None:
        return Inventory(problem=f"the NVIDIA driver did not answer within {timeout:g} s; dmesg may say why")
    output.seek(0)
    text = output.read()
    try:
        return Inventory.from_json(text)
    except ValueError:
        last = text.decode(errors="replace").strip().rpartition("\n")[2] or "no message"
        return Inventory(problem=f"reading the GPUs failed with exit code {code}: {last}")
