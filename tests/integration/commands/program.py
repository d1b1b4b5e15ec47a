"""A program that somebody else could have written: `program.py MODE [ARGUMENTS]`. Standard library only."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Healthy while there is a file of that name; otherwise it tells of its process."""

    def do_GET(self) -> None:
        sick = self.path == "/missing" or (self.path == "/health" and not Path("healthy").exists())
        told = json.dumps({"pid": os.getpid(), "argv": sys.argv[1:], "env": dict(os.environ)}).encode()
        self.send_response(503 if sick else 200)
        self.send_header("Content-Length", str(len(told)))
        self.end_headers()
        self.wfile.write(told)

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def address_string(self) -> str:
        return "a client"


class UnixServer(HTTPServer):
    """The same on a Unix socket."""

    address_family = socket.AF_UNIX

    def server_bind(self) -> None:
        self.socket.bind(self.server_address)


def http(port: str, *_: str) -> None:
    HTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


def unix(path: str) -> None:
    UnixServer(path, Handler).serve_forever()  # type: ignore[arg-type]  # a path is an address too


def notify(status: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"])
        sender.send(f"STATUS={status}".encode())
        sender.send(b"STATUS=ready\nREADY=1\n")
    sleep()


def fd(number: str) -> None:
    os.write(int(number), b"here\n")
    sleep()


def touch(name: str) -> None:
    """Be ready by a file, and say by another one which signal ended this."""

    def end(signum: int, _frame: object) -> None:
        Path(f"{name}-ended").write_text(signal.Signals(signum).name)
        sys.exit(0)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, end)
    Path(name).touch()
    sleep()


def note(name: str, *codes: str) -> None:
    """Write a line for each run, and end with the code that is this run's."""
    with Path(name).open("a") as notes:
        notes.write("ran\n")
    runs = len(Path(name).read_text().splitlines())
    sys.exit(int(codes[min(runs, len(codes)) - 1]))


def sleep() -> None:
    sys.stdout.write("sleeping\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
