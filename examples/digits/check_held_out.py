"""Post every held-out picture to the running app and print how many it reads right; exit 1 below 95 %.

python check_held_out.py [HOST:PORT]
"""

from __future__ import annotations

import json
import sys
from http.client import HTTPConnection
from pathlib import Path

PICTURES = Path(__file__).with_name("held_out")
LEAST = 0.95


def classify(connection: HTTPConnection, picture: bytes) -> int:
    connection.request("POST", "/classify", picture, {"content-type": "image/png"})
    with connection.getresponse() as response:
        body = response.read()
    if response.status != 200:
        sys.exit(f"HTTP {response.status}: {body.decode(errors='replace')}")
    return json.loads(body)["digit"]


def main() -> int:
    address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:3000"
    connection = HTTPConnection(address, timeout=30)
    pictures = sorted(PICTURES.glob("*.png"))
    try:
        wrong = [path for path in pictures if classify(connection, path.read_bytes()) != int(path.stem[-1])]
    except ConnectionRefusedError:
        sys.exit(f"nothing listens at {address}; start the app with: svcd up")
    finally:
        connection.close()
    right = 1 - len(wrong) / len(pictures)
    names = ", ".join(path.name for path in wrong) or "none"
    print(f"{right:.1%} of {len(pictures)} held-out digits are right; wrong: {names}")
    return 0 if right >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
