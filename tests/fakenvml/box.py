"""Machines for tests: a TOML description becomes a folder with a libnvidia-ml.so.1 that the real pynvml loads.

driver = "550.54.15"
init_error = 9                  # nvmlInit returns this code
hang = 3600                     # seconds that nvmlInit blocks
nvswitch = true                 # every GPU's links end at a switch that joins them all

[[gpu]]
name = "NVIDIA A100-SXM4-80GB"  # all of these have defaults
uuid = "GPU-..."
memory = 85899345920
used = 0
numa = 0                        # -1: NVML does not say
bus = "00000000:01:00.0"
mig = false
error = 15                      # opening the device fails with this code
nvlink = { 1 = 12 }             # index of the peer = links
links = 12                      # with nvswitch: links to the switch
processes = [{ pid = 7, memory = 1024 }]
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import tomli

HERE = Path(__file__).parent
LIBRARY = "libnvidia-ml.so.1"
SWITCH = "00000000:C1:00.0"


def compiler() -> str | None:
    """Return the C compiler to build with, None when there is none."""
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


def build(folder: Path) -> Path:
    """Compile the library into a folder; return its path."""
    library = folder / LIBRARY
    command = [compiler() or "cc", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, f"-Wl,-soname,{LIBRARY}", "-o", library, HERE / "fakenvml.c", "-ldl"], check=True)
    return library


class Box:
    """One machine: its folder, and the environment under which programs see it."""

    def __init__(self, folder: Path, library: Path, toml: str) -> None:
        folder.mkdir()
        self.folder = folder
        os.link(library, folder / LIBRARY)
        self.describe(toml)

    @property
    def env(self) -> dict[str, str]:
        """The variable to add to a program's environment."""
        return {"LD_LIBRARY_PATH": str(self.folder)}

    def describe(self, toml: str) -> None:
        """Change the machine: the next nvmlInit sees it so."""
        scratch = self.folder / "box.scratch"
        scratch.write_text("".join(f"{line}\n" for line in lines(tomli.loads(toml))))
        scratch.rename(self.folder / "box.txt")


def uuid_of(index: int) -> str:
    """The UUID of a GPU that was given none."""
    return f"GPU-00000000-0000-4000-8000-{index:012d}"


def lines(box: dict[str, Any]) -> list[str]:
    """Return the lines of box.txt, whose format fakenvml.c describes."""
    gpus = box.get("gpu", [])
    buses = [gpu.get("bus", f"00000000:{index + 1:02X}:00.0") for index, gpu in enumerate(gpus)]
    text = [f"driver {box.get('driver', '550.54.15')}"]
    if "hang" in box:
        text.append(f"hang {box['hang']}")
    if "init_error" in box:
        text.append(f"init {box['init_error']}")
    for index, gpu in enumerate(gpus):
        fields = (
            *(
                index,
                gpu.get("uuid", uuid_of(index)),
                buses[index],
                gpu.get("memory", 80 * 1024**3),
                gpu.get("used", 0),
            ),
            *(gpu.get("numa", 0), int(gpu.get("mig", False)), gpu.get("error", 0)),
            gpu.get("name", "NVIDIA A100-SXM4-80GB"),
        )
        text.append(f"gpu {' '.join(map(str, fields))}")
    for index, gpu in enumerate(gpus):
        for peer, count in gpu.get("nvlink", {}).items():
            text += [f"nvlink {index} {buses[int(peer)]}"] * count
        if box.get("nvswitch"):
            text += [f"nvlink {index} {SWITCH}"] * gpu.get("links", 12)
            text += [f"p2p {index} {peer}" for peer in range(len(gpus)) if peer != index]
        text += [f"process {index} {process['pid']} {process['memory']}" for process in gpu.get("processes", [])]
    return text
