"""The processes of one keeper: spawned on order, signalled, killed, reaped, and gone when nothing is left.

Law: of each id the daemon hears, in this order, Spawned, Exited and Gone; or SpawnFailed and nothing else.
"""

from __future__ import annotations

import errno
import os
import selectors
from contextlib import suppress

from svcd.host.cgroups import Cgroups
from svcd.host.log_files import LogFiles, LogPump
from svcd.host.logs import LogLimits
from svcd.host.settings import Settings
from svcd.host.spawn import read_report, spawn
from svcd.host.strays import Strays, kill_trees
from svcd.values.orders import Exited, Gone, Kept, Notified, Spawned, SpawnFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from socket import socket

    from svcd.host.descent import Mark
    from svcd.host.spawn import SpawnedChild
    from svcd.values.orders import Event, Spawn


class Child:
    """One spawned id, from its fork until nothing of it is left."""

    def __init__(self, order: Spawn, cgroups: Cgroups, forked: SpawnedChild, pump: LogPump) -> None:
        self.id = order.id
        self.argv = order.argv
        self.cwd = order.cwd
        self.user = order.user
        self.cgroups = cgroups
        self.pid = forked.pid
        self.report: int | None = forked.report
        """Where the outcome of its exec is read from; None once it was."""
        self.notify = forked.notify
        """Where it is read that the process is ready; None where it does not say so by a descriptor."""
        self.is_notified = False
        self.pump = pump
        self.output_open = True
        self.failed = False
        """There was no exec."""
        self.ended = False
        """The main process was reaped; its strays may live."""

    def __repr__(self) -> str:
        """Which one, and how far it is."""
        phase = "ended" if self.ended else "forked" if self.report is not None else "running"
        return f"<Child {self.id} pid {self.pid} {phase}>"


class Children:
    """All that the keeper spawned and that is not gone."""

    def __init__(
        self, selector: selectors.BaseSelector, emit: Callable[[Event], None], mark: int | None = None
    ) -> None:
        """mark: the keeper's part of the mark on all that it starts, None where it has none."""
        self._selector = selector
        self._emit = emit
        self._by_id: dict[str, Child] = {}
        self._mains: dict[int, Child] = {}
        """Main processes that are not reaped yet, by pid."""
        self._strays = Strays(mark)
        self._logs = LogFiles()

    def __repr__(self) -> str:
        """All of them."""
        return f"<Children {list(self._by_id.values())}>"

    @property
    def ending(self) -> bool:
        """True while the rest of an id whose main process has ended is being killed."""
        return any(child.ended for child in self._by_id.values())

    def kept(self) -> list[Kept]:
        """What there is, for a daemon that comes."""
        return [Kept(child.id, child.pid, child.ended) for child in self._by_id.values() if not child.failed]

    def spawn(self, order: Spawn, sockets: Mapping[str, socket]) -> None:
        """Fork; whether the exec succeeded is said later, as no exec is waited for."""
        cgroups = Cgroups(order.cgroups)
        try:
            self._check(order, sockets)
            _make(cgroups)
            mark = self._strays.next_mark()
            forked = _fork(order, sockets, cgroups, mark)
        except OSError as error:
            self._emit(SpawnFailed(order.id, error.errno or 0, error.strerror or str(error)))
            return
        limits = LogLimits(*order.log_limits)
        pump = LogPump(forked.output, self._logs.open(order.log, limits), limits)
        child = Child(order, cgroups, forked, pump)
        self._by_id[child.id] = self._mains[child.pid] = child
        self._strays.expect(child.pid, child.id, mark)
        self._selector.register(forked.report, selectors.EVENT_READ, lambda: self._executed(child))
        self._selector.register(forked.output, selectors.EVENT_READ, lambda: self._pump(child))
        if forked.notify is not None:
            self._selector.register(forked.notify, selectors.EVENT_READ, lambda: self._hear(child))

    def _check(self, order: Spawn, sockets: Mapping[str, socket]) -> None:
        """Raise OSError for an order that cannot be carried out."""
        if order.id in self._by_id:
            raise OSError(errno.EEXIST, f"{order.id} is not gone yet")
        for name in order.sockets:
            if name not in sockets:
                raise OSError(errno.ENOTSOCK, f"no listening socket is named {name}")

    def signal(self, name: str, signum: int) -> None:
        """Signal a main process; ids that are unknown or have ended are ignored."""
        child = self._by_id.get(name)
        if child is not None and not child.ended:
            with suppress(OSError):  # not reaped yet, so the pid is its own; a bad number is the daemon's business
                os.kill(child.pid, signum)

    def kill(self, name: str) -> None:
        """SIGKILL all that an id started. When its main process has ended that is under way already."""
        child = self._by_id.get(name)
        if child is not None and not child.ended:
            self._strays.remember_tree(child.pid, child.id)
            child.cgroups.kill()
            kill_trees([child.pid])

    def reap(self) -> bool:
        """Collect what ended, say so, and kill what that leaves behind; False when this process has no child at all."""
        reaped: list[str] = []
        some_left = True
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                some_left = False
                break
            if not pid:
                break
            reaped.append(self._reaped(pid, os.waitstatus_to_exitcode(status)))
        if reaped or self.ending:
            self._sweep(reaped)
        return some_left

    def _reaped(self, pid: int, code: int) -> str:
        """Take note that a child ended; return the id it belonged to, "" for none."""
        child = self._mains.pop(pid, None)
        if child is None:
            return self._strays.reaped(pid)
        self._executed(child)
        if child.failed:
            child.cgroups.remove()
        else:
            child.ended = True
            if child.output_open:
                child.pump.drain()
            self._emit(Exited(child.id, pid, code, child.pump.last_lines, child.cgroups.oom()))
        return child.id

    def _sweep(self, reaped: list[str]) -> None:
        """Kill the strays of ids that ended, and say which ids are gone."""
        ended = [child for child in self._by_id.values() if child.ended]
        self._strays.adopt(self._mains, [*filter(self._by_id.get, reaped), *(child.id for child in ended)])
        killing = self._strays.kill(self._by_id.keys() - {child.id for child in ended})
        for child in ended:
            child.cgroups.kill()
            if child.id not in killing and child.cgroups.remove():
                if child.output_open:
                    child.pump.drain()
                self._forget(child)
                self._emit(Gone(child.id))

    def remove_cgroups(self) -> None:
        """Remove those of ids whose end nobody waited for; for when all is killed and reaped."""
        for child in self._by_id.values():
            child.cgroups.remove()

    def _executed(self, child: Child) -> None:
        """Read how the exec went, and say so."""
        if child.report is None:
            return
        self._selector.unregister(child.report)
        failure = read_report(child.report, child.argv, child.cwd, child.user)
        child.report = None
        if failure is None:
            self._emit(Spawned(child.id, child.pid))
        else:
            child.failed = True
            self._forget(child)
            self._emit(SpawnFailed(child.id, failure.errno, failure.message))

    def _pump(self, child: Child) -> None:
        # The exec may have failed, and the pipe been closed, earlier in this turn of the loop.
        if child.output_open and not child.pump.pump():
            self._close_output(child)

    def _hear(self, child: Child) -> None:
        """Read what the child says on its descriptor; the first newline counts, what follows is read and forgotten."""
        if child.notify is None:
            return
        with suppress(BlockingIOError):
            said = os.read(child.notify, 4096)
            if b"\n" in said and not child.is_notified:
                child.is_notified = True
                self._emit(Notified(child.id))
            if not said:
                self._close_notify(child)

    def _close_notify(self, child: Child) -> None:
        if child.notify is not None:
            self._selector.unregister(child.notify)
            os.close(child.notify)
            child.notify = None

    def _close_output(self, child: Child) -> None:
        if child.output_open:
            child.output_open = False
            self._selector.unregister(child.pump.pipe)
            child.pump.close()

    def _forget(self, child: Child) -> None:
        self._close_output(child)
        self._close_notify(child)
        self._logs.release(child.pump.log)
        self._strays.forget(child.pid, child.id)
        del self._by_id[child.id]


def _make(cgroups: Cgroups) -> None:
    """Make the control groups of a process that is to come. Raises OSError that names the one that cannot be made."""
    try:
        cgroups.make()
    except OSError as error:
        why = f"cannot make its control group {error.filename}: {error.strerror}"
        raise OSError(error.errno or 0, why) from error


def _fork(order: Spawn, sockets: Mapping[str, socket], cgroups: Cgroups, mark: Mark | None) -> SpawnedChild:
    """Fork what is ordered; where even that fails its control groups go again, and OSError says why."""
    try:
        return spawn(
            order.argv,
            env=order.env,
            cwd=order.cwd,
            stdin=order.stdin,
            descriptors=[sockets[name].fileno() for name in order.sockets],
            notify_fd=order.notify_fd,
            settings=Settings.of(order, more_rlimits=mark.rlimits if mark else {}),
        )
    except OSError as error:
        cgroups.remove()
        raise OSError(error.errno or 0, f"cannot fork a process: {error.strerror}") from error
