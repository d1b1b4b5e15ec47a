"""Weighing a process tree: what is its own counts, what the kernel can drop does not."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import pytest

from svcd.host.memory import own_memory, resident

MIB = 1 << 20
HOLD = "print(flush=True); input()"


def run(code: str, *args: str) -> subprocess.Popen[bytes]:
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", f"{code}\n{HOLD}", *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    return child


@pytest.mark.parametrize("code", ["held = b'x' * (64 << 20)", "import os\nif not os.fork(): held = b'x' * (64 << 20)"])
def test_its_own_memory_and_that_of_its_children(code: str) -> None:
    with run(code) as child:
        if "fork" in code:
            assert child.stdout is not None
            child.stdout.readline()
        assert 64 * MIB < own_memory(child.pid) < 100 * MIB
        assert resident(child.pid) >= own_memory(child.pid)
        child.communicate(b"\n\n")


def test_memory_that_two_of_them_share_counts_once() -> None:
    with run("held = b'x' * (64 << 20)\nimport os; os.fork()") as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert resident(child.pid) > 128 * MIB
        assert own_memory(child.pid) < 100 * MIB
        child.communicate(b"\n\n")


def test_a_mapped_file_is_not_held_against_it() -> None:
    # Not in /tmp, which may be in memory: there the kernel could not drop it.
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as model:
        for _ in range(64):
            model.write(b"w" * MIB)
        model.flush()
        check_mapped(model.name)


def check_mapped(model: str) -> None:
    code = (
        "import mmap, sys; file = open(sys.argv[1], 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ); sum(mapped[::4096])"
    )
    with run(code, model) as child:
        assert resident(child.pid) > 64 * MIB
        assert own_memory(child.pid) < 32 * MIB
        child.communicate(b"\n")


def test_a_process_that_is_no_more() -> None:
    child = run("")
    child.communicate(b"\n")
    assert own_memory(child.pid) == resident(child.pid) == 0
