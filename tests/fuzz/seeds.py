"""Write the first inputs of the corpus: one of each kind of message, in each state, well-formed and not.

python tests/fuzz/seeds.py FOLDER
"""

from __future__ import annotations

import hashlib
import random
import sys
from pathlib import Path

import msgpack

from svcd_ipc import codec, frames
from svcd_ipc.connection import Connection

STATES = (0, 1, 2, 4, 6)
"""Greeted; not greeted; with calls of this side; with shared memory; with both."""
PER_STATE = 8


def seeds() -> list[bytes]:
    """Return the inputs; the same each time."""
    chance = random.Random(2026)  # noqa: S311 - inputs that are the same each time
    made = [bytes((8,)) + codec.encode(value) for value in ({"x": [1, "text", b"bytes", None]}, 1.5, [[]] * 9)]
    talk = Connection()
    said = b"".join(talk.send_hello({"service": "Peer"}))
    said += b"".join(talk.send_call("api", {"x": b"1" * 40}, 12.5, None, 0, 3)[1])
    said += b"".join(talk.send_call("api", {}, inputs=["items"])[1]) + b"".join(talk.send_ping(7))
    made += [
        bytes((1, 255, 255, 255, 255, 0)) + said,
        bytes((1, 0, 0, 0, 0, 0)) + said,
        bytes((1, 3, 1, 4, 1, 0)) + said,
    ]
    for state in STATES:
        for kind in range(20):
            made.append(bytes((state, *chance.randbytes(4), 2, kind)) + chance.randbytes(24))
        for _ in range(PER_STATE):
            made.append(bytes((state, *chance.randbytes(4), 2)) + chance.randbytes(200))
        body = msgpack.packb([2, 1, {"x": 1}, 0, 0])
        made.append(bytes((state, *chance.randbytes(4), 0)) + frames.pack(body) + b"\xff\xff\xff\x7f")
        made.append(bytes((state, *chance.randbytes(4), 1, len(body) // 2)) + body)
    return made


def main(folder: Path) -> None:
    """Write each input under the name that libFuzzer would give it."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds():
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
