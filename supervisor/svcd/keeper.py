"""The keeper: parent of every process of one app. It spawns on order, waits, reaps, kills and writes the logs.

`python -m svcd.keeper [DESCRIPTOR [FOLDER]]`, with the link to the daemon as that descriptor (3 unless said), and the
app's runtime directory, which is removed when the daemon cannot do that. values/orders.py is the protocol.
Single-threaded, without trio: it has to be small, quick to start, and alive when all else is not.

Law: it blocks in one place, its selector; it waits for no process and not for the daemon.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
from contextlib import suppress

import msgpack

from svcd.host.children import Children
from svcd.host.descent import mark_descendants
from svcd.host.guard import GuardLine, fork_under_guard
from svcd.host.ports import ListenError, listen
from svcd.host.processes import kill_pass
from svcd.host.remains import Remains, family_of
from svcd.host.successor import Succession
from svcd.values import orders
from svcd_ipc.errors import ProtocolError
from svcd_ipc.frames import FrameReader, pack

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

SWEEP_INTERVAL = 0.02
"""Seconds between looks at what is being killed, should no SIGCHLD come first."""
LAST_WORDS = 1.0
"""Seconds that the daemon has to take the last events after a Shutdown."""
_READ_SIZE = 64 * 1024


class Keeper:
    """The state of one keeper, and its loop."""

    def __init__(self, link: socket.socket, guard: GuardLine, remains: Remains, mark: int | None = None) -> None:
        """Take the socket to the daemon, the line to the guard, what may be left, and what `mark_descendants` gave."""
        self._link = link
        self._is_alone = False
        """The daemon has gone, and another may come."""
        self._guard = guard
        self._remains = remains
        self._selector = selectors.DefaultSelector()
        self._reader = FrameReader()
        self._outgoing = bytearray()
        self._children = Children(self._selector, self._send, mark)
        self._succession = Succession(self._selector, self._greeting, self._attach)
        self._sockets: dict[str, socket.socket] = {}
        self._asked: dict[str, tuple[str, int]] = {}
        """The address that each socket was ordered for."""
        self._exit_code: int | None = None
        """What to leave with as soon as nothing is left; None while there is work."""

    def __repr__(self) -> str:
        """What it keeps."""
        return f"<Keeper of {self._children!r}>"

    def run(self) -> int:
        """Serve until the daemon orders Shutdown or goes away, then end everything; return the exit code."""
        self._listen_to_link()
        self._selector.register(self._guard.pidfd, selectors.EVENT_READ, lambda: self._finish(1))
        _wake_on_child(self._selector)
        while True:
            hurried = self._exit_code is not None or self._children.ending
            for key, events in self._selector.select(SWEEP_INTERVAL if hurried else self._succession.patience):
                if events & selectors.EVENT_WRITE:
                    self._flush()
                if events & selectors.EVENT_READ:
                    key.data()
            if self._succession.patience == 0:
                self._finish(1)
            some_left = self._children.reap()
            if self._exit_code is not None:
                if not some_left:
                    self._children.remove_cgroups()
                    self._remains.sweep()  # a daemon that lives has the lock, and does that itself
                    return self._leave(self._exit_code)
                kill_pass(os.getpid())

    def _finish(self, exit_code: int) -> None:
        """Stop listening to anybody; the loop ends when all is killed and reaped."""
        if self._exit_code is None:
            self._exit_code = exit_code
            if exit_code:
                # The daemon is to hear that the keeper ends, not of deaths that it would put down to each replica.
                self._outgoing.clear()
                with suppress(OSError):
                    self._link.shutdown(socket.SHUT_RDWR)
            self._selector.unregister(self._guard.pidfd)
            if not self._is_alone:
                self._selector.unregister(self._link)
            self._succession.close()

    def _leave(self, exit_code: int) -> int:
        self._link.settimeout(LAST_WORDS)
        with suppress(OSError):
            self._link.sendall(self._outgoing)
        return exit_code

    def _receive(self) -> None:
        try:
            data = self._link.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._go_on_alone()
            return
        self._reader.feed(data)
        self._obey_all()

    def _obey_all(self) -> None:
        try:
            while self._exit_code is None and (body := self._reader.next_frame()) is not None:
                self._obey(orders.unpack(msgpack.unpackb(body, unicode_errors="surrogateescape")))
        except (ProtocolError, ValueError, msgpack.UnpackException) as error:
            sys.stderr.write(f"svcd keeper: the daemon's orders cannot be read, ending all: {error}\n")
            self._finish(1)

    def _listen_to_link(self) -> None:
        self._link.setblocking(False)
        self._selector.register(self._link, selectors.EVENT_READ, self._receive)

    def _go_on_alone(self) -> None:
        """Go on without a daemon for as long as the app may; else end."""
        if self._exit_code is not None:  # the guard's end was seen first, in the same turn of the loop
            return
        if not self._succession.begin():
            self._finish(1)
            return
        self._selector.unregister(self._link)
        self._link.close()
        self._outgoing.clear()
        self._is_alone = True

    def _greeting(self) -> orders.Greeting:
        return orders.Greeting(orders.LINK_VERSION, self._succession.svcd, os.getppid())

    def _attach(self, link: socket.socket, reader: FrameReader) -> None:
        """Serve another daemon: first all that there is, then news."""
        self._link, self._reader, self._is_alone = link, reader, False
        self._listen_to_link()
        self._guard.watch(link)
        for event in self._children.kept():
            self._send(event)
        for ending in self._succession.endings.values():
            self._send(ending)
        for key, value in self._succession.memory.items():
            self._send(orders.Recalled(key, value))
        self._send(orders.Attached())
        self._obey_all()

    def _linger(self, order: orders.Linger) -> None:
        try:
            self._succession.prepare(order)
        except OSError as error:
            sys.stderr.write(f"svcd keeper: {order.path}: {error.strerror}; nothing will outlive the daemon\n")
        else:
            self._guard.allow(order.seconds)

    def _obey(self, order: orders.Order | orders.Event) -> None:
        match order:
            case orders.Spawn():
                self._note_groups(order)
                self._children.spawn(order, self._sockets)
            case orders.Signal():
                self._children.signal(order.id, order.signum)
            case orders.Kill():
                self._children.kill(order.id)
            case orders.Listen():
                self._listen(order)
            case orders.Linger():
                self._linger(order)
            case orders.Remember():
                self._succession.remember(order.key, order.value)
            case orders.Shutdown():
                self._finish(0)
            case _:
                raise ValueError(f"{type(order).__name__} is not an order")

    def _note_groups(self, order: orders.Spawn) -> None:
        for folder, _ in order.cgroups:
            if self._remains.add(family := family_of(folder)):
                self._guard.remember(family)

    def _listen(self, order: orders.Listen) -> None:
        held = self._sockets.get(order.name)
        if held is not None and self._asked[order.name] == (order.host, order.port):
            self._send(orders.Listening(order.name, *held.getsockname()[:2]))
            return
        try:
            self._sockets[order.name] = bound = listen(order.host, order.port)
            self._asked[order.name] = (order.host, order.port)
        except ListenError as error:
            self._send(orders.ListenFailed(order.name, error.errno, error.message))
        else:
            if held is not None:
                held.close()
            self._send(orders.Listening(order.name, *bound.getsockname()[:2]))

    def _send(self, event: orders.Event) -> None:
        self._succession.note(event)
        if self._is_alone:
            return
        self._outgoing += pack(msgpack.packb(orders.pack(event), unicode_errors="surrogateescape"))
        self._flush()

    def _flush(self) -> None:
        """Send what the socket takes now; the rest waits for the daemon here, so that neither blocks the other."""
        try:
            while self._outgoing:
                del self._outgoing[: self._link.send(self._outgoing)]
        except BlockingIOError:
            pass
        except OSError:  # the daemon has gone; that is read in its turn
            self._outgoing.clear()
        if self._exit_code is None and not self._is_alone:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
            self._selector.modify(self._link, wanted, self._receive)


def _wake_on_child(selector: selectors.BaseSelector) -> None:
    """Have SIGCHLD end a wait of the selector. The reaping itself is done on every turn of the loop."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.signal(signal.SIGCHLD, _nothing)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    selector.register(reader, selectors.EVENT_READ, lambda: reader.recv(4096))


def _nothing(*_: object) -> None:
    """A handler and not SIG_IGN: the exec of a child undoes a handler."""


def main(argv: Sequence[str] = ()) -> int:
    """Run a keeper and its guard; returns in the keeper only."""
    link = int(argv[0]) if argv else 3
    # Whoever started svcd may have blocked some: with SIGCHLD among them, ends would go unnoticed.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # A terminal's Ctrl-C and a service manager's SIGTERM reach a whole group: the daemon decides, over the link.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, _nothing)
    mark = mark_descendants()
    remains = Remains(argv[1] if len(argv) > 1 else "")
    guard = fork_under_guard(link, remains)
    return Keeper(socket.socket(fileno=link), guard, remains, mark).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
