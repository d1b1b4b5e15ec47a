"""The coverage-guided fuzzer (https://github.com/google/atheris) over `wire.run`; `make fuzz` has its environment.

    python tests/fuzz/run_fuzz.py [libFuzzer options] [FOLDER of inputs]...

An input that breaks a promise is written to crash-*; put it under tests/fuzz/corpus when it is mended.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["svcd_ipc", "msgpack"]):
    sys.path.insert(0, str(Path(__file__).parent))
    import wire


def main() -> None:
    """Run until told otherwise."""
    atheris.Setup(sys.argv, wire.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
