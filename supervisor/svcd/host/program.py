"""How this svcd starts itself and parts of itself: from an installed package, or out of the packed program."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from svcd.host.frozen import IS_FROZEN, loader_environment
from svcd.host.gpus import NVML_ARGV
from svcd.host.keeper_process import KEEPER_ARGV

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_PYTHON = 'no python3 on PATH to run services with; install one, or name one: [app] python = "/path/to/python"'


@dataclass(frozen=True, slots=True)
class Program:
    """Command lines of the parts; each runs with arguments of its own appended."""

    keeper: tuple[str, ...]
    nvml: tuple[str, ...]
    python: str
    """Interpreter of services for which the configuration names none."""
    ingress: tuple[str, ...] | None = None
    """None: the worker's boot script under `python`."""
    loader: Mapping[str, str] = field(default_factory=dict)
    """Variables that `ingress` needs beside the usual ones; keeper and GPU reader need `part_environment`."""

    @classmethod
    def this(cls, app_python: str | None = None) -> Program:
        """Return the program that is running; app_python: the interpreter that the configuration names for the app.

        Raises FileNotFoundError when the packed program finds no Python for services.
        """
        if not IS_FROZEN:
            return cls(KEEPER_ARGV, NVML_ARGV, sys.executable)
        python = app_python or shutil.which("python3")
        if python is None:
            raise FileNotFoundError(NO_PYTHON)
        own = own_command()
        return cls((*own, "__keeper"), gpu_reader(), python, (*own, "__worker"), loader_environment())


def gpu_reader() -> tuple[str, ...]:
    """Return the command line of the GPU reader, which needs `part_environment`."""
    return (*own_command(), "__nvml") if IS_FROZEN else NVML_ARGV


def part_environment() -> dict[str, str]:
    """Return the whole environment of the keeper and of the GPU reader."""
    return {**os.environ, **loader_environment()}


def own_command() -> tuple[str, ...]:
    """Return the command line of another svcd like this one, but for its arguments."""
    return (sys.executable,) if IS_FROZEN else (sys.executable, "-P", "-m", "svcd")
