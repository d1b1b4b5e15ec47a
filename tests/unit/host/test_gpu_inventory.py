"""The inventory as the real pynvml reads it, in a real process, from boxes that are described in TOML."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from leftovers import assert_none_left, new_mark
from svcd.host.gpus import read_inventory, read_inventory_blocking
from svcd.values.inventory import Gpu, GpuProcess, Inventory, Link, UnusableGpu

FakeBox = Callable[[str], dict[str, str]]


def read(env: dict[str, str]) -> Inventory:
    return read_inventory_blocking(env={**os.environ, **env})


def test_two_bridged_cards(fake_box: FakeBox) -> None:
    first, second = (f"GPU-aaaaaaaa-0000-4000-8000-00000000000{index}" for index in range(2))
    assert read(fake_box("two-a100")) == Inventory(
        gpus=(
            Gpu(
                index=0,
                uuid=first,
                name="NVIDIA A100-PCIE-40GB",
                memory_total=40 * 1024**3,
                memory_used=0,
                numa_node=0,
                pci_bus_id="00000000:01:00.0",
                links=(Link(second, 12),),
            ),
            Gpu(
                index=1,
                uuid=second,
                name="NVIDIA A100-PCIE-40GB",
                memory_total=40 * 1024**3,
                memory_used=0,
                numa_node=0,
                pci_bus_id="00000000:02:00.0",
                links=(Link(first, 12),),
            ),
        ),
        driver="550.54.15",
    )


def test_eight_cards_behind_a_switch(fake_box: FakeBox) -> None:
    box = read(fake_box("dgx-a100"))
    assert [gpu.numa_node for gpu in box.gpus] == [0] * 4 + [1] * 4
    assert [len(gpu.links) for gpu in box.gpus] == [7] * 8
    assert {link.lanes for gpu in box.gpus for link in gpu.links} == {12}
    assert box.gpus[7].processes == (GpuProcess(4242, 20 * 1024**3),)
    assert box.gpus[7].memory_used == 20 * 1024**3
    assert box.problem is None


def test_cards_that_cannot_be_used_are_told_and_hide_no_others(fake_box: FakeBox) -> None:
    box = read(fake_box("four-mixed"))
    assert [gpu.name for gpu in box.gpus] == ["Tesla T4", "NVIDIA A10"]
    mig, lost = box.unusable
    assert mig.index == 2
    assert "MIG" in mig.reason
    assert lost == UnusableGpu(index=3, uuid="", name="", reason="NVML: GPU is lost")
    assert box.problem is not None
    assert "GPU 2 (NVIDIA A100 80GB PCIe) is not used: MIG mode is on" in box.problem
    assert "GPU 3 is not used: NVML: GPU is lost" in box.problem


def test_a_numa_node_that_nvml_does_not_tell(fake_box: FakeBox) -> None:
    box = read(fake_box("[[gpu]]\nnuma = -1\nbus = '0000FFFF:FF:1F.7'\n"))
    assert [gpu.numa_node for gpu in box.gpus] == [None]


def test_a_box_changes_between_readings(make_box: Callable[[str], object]) -> None:
    box = make_box("[[gpu]]\n[[gpu]]\n")
    assert len(read(box.env).gpus) == 2  # type: ignore[attr-defined]  # Box is the plugin's
    box.describe("[[gpu]]\nused = 7\n")  # type: ignore[attr-defined]  # as above
    (gpu,) = read(box.env).gpus  # type: ignore[attr-defined]  # as above
    assert gpu.memory_used == 7


@pytest.mark.parametrize(
    ("toml", "problem"),
    [
        ("init_error = 9\n", "the NVIDIA driver is not loaded"),
        ("init_error = 4\n", "this user may not talk to the NVIDIA driver"),
        ("init_error = 18\n", "reboot after a driver update"),
        ("init_error = 999\n", "NVML cannot be initialised: Unknown Error"),
        ("driver = '1'\n", "the NVIDIA driver lists no GPU"),
    ],
)
def test_no_gpus_is_no_error(fake_box: FakeBox, toml: str, problem: str) -> None:
    box = read(fake_box(toml))
    assert box.gpus == ()
    assert box.problem is not None
    assert problem in box.problem


async def test_no_driver_is_no_error() -> None:
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    box = await read_inventory(env=env)
    if box.gpus:
        pytest.skip("this machine has a driver")
    assert box.problem is not None


async def test_a_driver_that_hangs_is_given_up_and_its_reader_killed(fake_box: FakeBox) -> None:
    mark = new_mark()
    env = {**os.environ, **mark, **fake_box("hang = 3600\n[[gpu]]\n")}
    start = time.monotonic()
    box = await read_inventory(env=env, timeout=0.5)
    assert time.monotonic() - start < 10
    assert box == Inventory(problem="the NVIDIA driver did not answer within 0.5 s; dmesg may say why")
    assert_none_left(mark)
    assert read_inventory_blocking(env=env, timeout=0.5) == box
    assert_none_left(mark)


async def test_a_reader_that_crashes() -> None:
    argv = [sys.executable, "-c", "raise SystemExit('out of luck')"]
    box = await read_inventory(argv)
    assert box == Inventory(problem="reading the GPUs failed with exit code 1: out of luck")


def test_the_reader_ends_with_its_parent(fake_box: FakeBox) -> None:
    """Started by a process that is killed while the driver hangs."""
    mark = new_mark()
    env = {**os.environ, **mark, **fake_box("hang = 3600\n")}
    parent = """
import os, signal, subprocess, sys
from svcd.host.gpus import NVML_ARGV
subprocess.Popen([*NVML_ARGV, str(os.getpid())])
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", parent], env=env, check=False)
    assert_none_left(mark)


def test_json_round_trip(fake_box: FakeBox) -> None:
    for name in ("dgx-a100", "four-mixed"):
        box = read(fake_box(name))
        assert Inventory.from_json(box.to_json()) == box


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"gpus": 1}', '{"gpus": [{}]}', '{"gpus": [], "cpus": 1}', "null"])
def test_what_is_no_inventory(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Inventory.from_json(text)
