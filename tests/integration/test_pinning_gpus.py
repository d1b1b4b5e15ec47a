"""`svcd gpus`: what the driver says, as a table and as a file for planning elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from running import SVCD
from svcd.values.inventory import Inventory

if TYPE_CHECKING:
    from collections.abc import Callable

    FakeBox = Callable[[str], dict[str, str]]


def gpus(env: dict[str, str], *options: str) -> str:
    done = subprocess.run(
        [*SVCD, "gpus", *options], env={**os.environ, **env}, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def test_a_row_for_each(fake_box: FakeBox) -> None:
    header, first, second = gpus(fake_box("two-a100")).splitlines()
    assert header.split() == ["INDEX", "NAME", "MEMORY", "USED", "NUMA", "BUS", "UUID"]
    assert first.split() == [
        *("0", "NVIDIA", "A100-PCIE-40GB", "40.0Gi", "0Mi", "0"),
        *("00000000:01:00.0", "GPU-aaaaaaaa-0000-4000-8000-000000000000"),
    ]
    assert second.split()[-1] == "GPU-aaaaaaaa-0000-4000-8000-000000000001"


def test_what_cannot_be_used_is_told_with_the_reason_and_the_cure(fake_box: FakeBox) -> None:
    text = gpus(fake_box("four-mixed"))
    assert "Tesla T4" in text
    assert "2      NVIDIA A100 80GB PCIe: not usable: MIG mode is on" in text
    assert "`nvidia-smi -i 2 -mig 0` turns it off" in text
    (line,) = (line for line in text.splitlines() if "GPU is lost" in line)
    assert line == "3      unknown: not usable: NVML: GPU is lost"


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("init_error = 9\n", "no GPUs: the NVIDIA driver is not loaded\n"),
        ("driver = '1'\n", "no GPUs: the NVIDIA driver lists no GPU\n"),
    ],
)
def test_a_box_without_gpus_is_no_error(fake_box: FakeBox, toml: str, said: str) -> None:
    assert gpus(fake_box(toml)) == said
    assert json.loads(gpus(fake_box(toml), "--json"))["gpus"] == []


@pytest.mark.parametrize("name", ["two-a100", "four-mixed", "dgx-a100"])
def test_the_json_is_an_inventory(fake_box: FakeBox, name: str) -> None:
    inventory = Inventory.from_json(gpus(fake_box(name), "--json"))
    assert len(inventory.gpus) + len(inventory.unusable) == {"two-a100": 2, "four-mixed": 4, "dgx-a100": 8}[name]
