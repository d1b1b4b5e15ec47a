"""The inventory of a machine that has real NVIDIA GPUs, beside what nvidia-smi says of it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from svcd.host.gpus import read_inventory_blocking

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="no NVIDIA driver: nvidia-smi is not there"),
]


def nvidia_smi(*fields: str) -> list[list[str]]:
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    text = subprocess.run(query, check=True, capture_output=True, text=True).stdout
    return [[field.strip() for field in line.split(",")] for line in text.splitlines()]


def test_it_lists_what_nvidia_smi_lists() -> None:
    box = read_inventory_blocking()
    seen = {(str(gpu.index), gpu.uuid, gpu.name) for gpu in (*box.gpus, *box.unusable)}
    assert seen == {tuple(row) for row in nvidia_smi("index", "uuid", "name")}


def test_memory_and_bus_are_nvidia_smis() -> None:
    rows = {row[0]: row[1:] for row in nvidia_smi("uuid", "memory.total", "pci.bus_id", "driver_version")}
    box = read_inventory_blocking()
    for gpu in box.gpus:
        total, bus, driver = rows[gpu.uuid]
        assert gpu.memory_total // 1024**2 == int(total)
        assert gpu.pci_bus_id.upper() == bus.upper()
        assert box.driver == driver
        assert 0 <= gpu.memory_used <= gpu.memory_total
        assert gpu.numa_node is None or gpu.numa_node >= 0


def test_links_are_mutual() -> None:
    box = read_inventory_blocking()
    ends = {(gpu.uuid, link.peer): link.lanes for gpu in box.gpus for link in gpu.links}
    assert all(ends.get((peer, uuid)) == lanes for (uuid, peer), lanes in ends.items())
