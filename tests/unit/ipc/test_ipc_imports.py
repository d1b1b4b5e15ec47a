"""What may be imported without trio: the sans-I/O core, by keeper and CLI; frames even without msgpack."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("frames", ["trio", "msgpack", "numpy", "socket"]),
        ("errors", ["trio", "msgpack", "numpy", "socket"]),
        ("connection", ["trio", "numpy", "torch", "pydantic", "socket"]),
        ("codec", ["trio", "numpy", "torch", "pydantic", "socket"]),
        ("channel", ["numpy", "torch", "pydantic", "click", "psutil"]),
        ("server", ["numpy", "torch", "pydantic", "click", "psutil"]),
    ],
)
def test_a_module_imports_no_more_than_it_needs(module: str, absent: list[str]) -> None:
    program = f"import sys, svcd_ipc.{module}; sys.exit(' '.join(set({absent!r}) & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert found.stderr.strip() == ""
