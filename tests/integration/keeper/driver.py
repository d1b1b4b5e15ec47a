"""Plays the daemon for the tests: starts a keeper, passes bytes between it and the test, and dies when it is killed.

`python driver.py DESCRIPTOR`. Exit code 0: the keeper ended with 0 and nothing was left; 1: it failed, and nothing was
left; 2: something survived.
"""

from __future__ import annotations

import select
import socket
import sys
from contextlib import suppress

from svcd.host.keeper_process import end_keeper, start_keeper


def main() -> int:
    test = socket.socket(fileno=int(sys.argv[1]))
    guard, link = start_keeper()
    with link, test:
        to = {test: link, link: test}
        while True:
            ready, _, _ = select.select(list(to), [], [])
            for source in ready:
                try:
                    data = source.recv(1 << 20)
                except ConnectionResetError:
                    data = b""
                if data:
                    with suppress(BrokenPipeError):
                        to[source].sendall(data)
                elif source is link:
                    left = end_keeper(guard)
                    return 2 if left else int(guard.returncode != 0)
                else:
                    link.shutdown(socket.SHUT_WR)
                    del to[test]


if __name__ == "__main__":
    sys.exit(main())
