"""How this svcd starts parts of itself: from an installed package, or out of the packed program."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from svcd.host.gpus import NVML_ARGV
from svcd.host.keeper_process import KEEPER_ARGV


@dataclass(frozen=True, slots=True)
class Program:
    """Command lines of the parts; each runs with arguments of its own appended."""

    keeper: tuple[str, ...]
    nvml: tuple[str, ...]
    python: str
    """Interpreter of services for which the configuration names none."""
    ingress: tuple[str, ...] | None
    """None: the worker's boot script under `python`."""

    @classmethod
    def this(cls) -> Program:
        """The program that is running. Raises FileNotFoundError when a packed one finds no Python for services."""
        if not getattr(sys, "frozen", False):
            return cls(KEEPER_ARGV, NVML_ARGV, sys.executable, None)
        python = shutil.which("python3")
        if python is None:
            raise FileNotFoundError(
                'no python3 on PATH to run services with; install one, or name one: [app] python = "/path/to/python"'
            )
        own = str(Path(sys.executable).absolute())
        return cls((own, "__keeper"), (own, "__nvml"), python, (own, "__worker"))
