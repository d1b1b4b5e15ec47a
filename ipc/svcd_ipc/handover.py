"""Handing arenas over: the descriptors that travel while hands are shaken, and only then.

Both hellos name the capability; then each side sends `arena` with the descriptors of its memory and of one end of a
pipe, the lifeline, and answers the other's with `taken`. Meanwhile bytes are received by `receive` in place of plain
recv(2), which would lose descriptors; afterwards nothing of this is in the way. Whatever is refused on the way (no
memfd, no descriptor free, no address space) is said in words, and the values travel with their frames.
"""

from __future__ import annotations

import array
import os
import socket
from struct import Struct
from typing import TYPE_CHECKING

import trio

from svcd_ipc.errors import RemoteProtocolError
from svcd_ipc.mapping import NotSharedError, attach
from svcd_ipc.messages import MEMORY
from svcd_ipc.sharing import Sharing
from svcd_ipc.staging import Staging

if TYPE_CHECKING:
    from svcd_ipc.connection import Connection
    from svcd_ipc.memory import Memory
    from svcd_ipc.messages import Arena, Taken
    from svcd_ipc.outbox import Outbox

_CREDENTIALS = Struct("3i")
"""struct ucred: pid, uid, gid."""

_OFTEN, _SELDOM = 0.02, 1.0
"""Seconds after which it is looked whether anything borrowed can be given back; doubled each time that nothing can."""

_ROOM = socket.CMSG_SPACE(2 * array.array("i").itemsize)


class Handover:
    """What one connection does about shared memory before its first call."""

    def __init__(self, sock: socket.socket, memory: Memory | None, connection: Connection, outbox: Outbox) -> None:
        self._sock = sock
        self._memory = memory
        self._connection = connection
        self._outbox = outbox
        self._sharing: Sharing | None = None
        self._received: list[int] = []
        self._awaits = 0
        """Messages of the peer that are still to come."""
        self.refusal: str | None = None
        """Why nothing is lent to this peer."""
        self.staging: Staging | None = None
        """There is one where something is."""

    @property
    def capabilities(self) -> list[str]:
        """What to say in hello. Memory is shared with processes of the same user only."""
        return [MEMORY] if self._memory is not None and peer_user(self._sock) == os.geteuid() else []

    @property
    def is_done(self) -> bool:
        """Whether each side knows what it may lend."""
        return not self._awaits

    def receive(self, size: int) -> bytes:
        """Return what recv(2) would, and keep the descriptors that came with it. Raises OSError."""
        data, ancillary, _, _ = self._sock.recvmsg(size, _ROOM, socket.MSG_CMSG_CLOEXEC)
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors = array.array("i")
                descriptors.frombytes(content[: len(content) // descriptors.itemsize * descriptors.itemsize])
                self._received.extend(descriptors)
        return data

    def begin(self) -> None:
        """Hand this side's arena over, where both hellos said that memory can be shared."""
        if self._memory is None or not self._connection.may_share:
            return
        self._awaits = 2
        lifeline, theirs = self._lifeline()
        self._sharing = Sharing(self._memory, lifeline)
        self._connection.share(self._sharing)
        try:
            if theirs >= 0:
                self._send(theirs)
            else:
                self._outbox.put(self._connection.send_arena(0), join=False)
        finally:
            if theirs >= 0:
                os.close(theirs)

    def take_arena(self, event: Arena) -> None:
        """Map the peer's arena. Raises RemoteProtocolError when it is not what it should be."""
        reason = "it has none" if not event.size else self._attach(event.size)
        self._awaits -= 1
        self._outbox.put(self._connection.send_taken(reason), join=False)

    def take_taken(self, event: Taken) -> None:
        """Lend from now on, if the peer has taken this side's arena."""
        self._awaits -= 1
        self.refusal = self.refusal or event.reason
        if self._sharing is not None:
            self._sharing.may_lend = self.refusal is None
            if self._sharing.may_lend:
                self.staging = Staging(self._sharing, self._connection.limit)

    async def give_back(self) -> None:
        """Give back slots whose last view went while nothing else was said; runs until cancelled."""
        sharing, connection = self._sharing, self._connection
        pause = _OFTEN
        while sharing is not None:
            if not sharing.borrowed:
                await sharing.has_borrowed.wait()
            await trio.sleep(pause)
            pause = min(2 * pause, _SELDOM)
            if connection.notes:
                self._outbox.put(connection.send_returns(), join=False)
                pause = _OFTEN

    def close(self) -> None:
        """Close what was received and not taken."""
        while self._received:
            os.close(self._received.pop())

    def end(self) -> None:
        """Lend no more: the connection has ended."""
        self.close()
        if self._sharing is not None:
            self._sharing.end()

    def _lifeline(self) -> tuple[int, int]:
        """Return a pipe's (reading, writing) end, or -1 for both where there is nothing to hand over."""
        assert self._memory is not None  # noqa: S101 - tells mypy what the only caller checked
        if self._memory.descriptor < 0:
            self.refusal = self._memory.reason
            return -1, -1
        try:
            return os.pipe()
        except OSError as error:
            self.refusal = f"no pipe could be made: {error.strerror}"
            return -1, -1

    def _send(self, lifeline: int) -> None:
        """Send `arena` with its descriptors, or say that there is none when they cannot be sent now."""
        assert self._memory is not None  # noqa: S101 - as above
        if not self._outbox.size:
            (frame,) = self._connection.send_arena(self._memory.size)
            descriptors = array.array("i", [self._memory.descriptor, lifeline])
            try:
                count = self._sock.sendmsg([frame], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            except OSError as error:
                self.refusal = f"its descriptors could not be sent: {error.strerror}"
            else:
                self._outbox.sent(frame, count)
                return
        self.refusal = self.refusal or "the peer did not read its hello"
        self._outbox.put(self._connection.send_arena(0), join=False)

    def _attach(self, size: int) -> str | None:
        """Map the peer's memory; return why that was refused here."""
        if len(self._received) != 2:
            self.close()
            return "its descriptors did not arrive: this process may have too many open"
        memory, lifeline = self._received
        try:
            mapping = attach(memory, size, lifeline)
        except NotSharedError as error:
            raise RemoteProtocolError(f"the peer handed over an arena that cannot be trusted: {error}") from None
        except OSError as error:
            self.close()
            return str(error)
        self._received = [memory]
        self.close()
        assert self._sharing is not None  # noqa: S101 - the connection lets no arena through before it shares
        self._sharing.attach(mapping)
        return None


def peer_user(sock: socket.socket) -> int | None:
    """Return the user id of the process at the other end, None when it is no Unix socket."""
    if sock.family != socket.AF_UNIX:
        return None
    _, user, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return user  # type: ignore[no-any-return]  # the format says so
