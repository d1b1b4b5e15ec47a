"""Takes over what an earlier daemon left running: each process becomes the replica it was, or goes if it is not wanted.

Law: a process is adopted by its id in the keeper and known by the nonce in the notes; a pid alone means nothing. Those
that the configuration would start in another way now serve on until they are replaced: callees before their callers, of
each service one replica after the other, and none after one that did not become ready again.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, NamedTuple

import trio

from svcd.policy.lifecycle import Happening, State
from svcd.policy.order import stop_waves
from svcd.policy.placement import Assignment
from svcd.policy.sameness import fingerprint
from svcd.values.boot import Address, Identity
from svcd.values.orders import Gone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from svcd.runtime.app import App
    from svcd.runtime.heritage import Heritage, ReplicaNote
    from svcd.runtime.launch import Launcher
    from svcd.runtime.ledger import Ledger
    from svcd.runtime.processes import Processes
    from svcd.runtime.programs import Programs
    from svcd.runtime.replica import Replica
    from svcd.runtime.service import Service
    from svcd.values.orders import Kept

BACK = 10.0
"""Seconds for a worker to find the new daemon; one that does not is stuck, or was never well."""
LAST_WORDS = 10.0
"""Seconds from SIGTERM to SIGKILL for what nobody knows any more."""
REASON = "its configuration has changed"
_RUNNING = frozenset({State.STARTING, State.READY, State.UNREADY, State.DRAINING})


class Tools(NamedTuple):
    """Those of the app that have to know of what was adopted."""

    launcher: Launcher
    ledger: Ledger
    programs: Programs
    processes: Processes


class Adoption:
    """One take-over."""

    def __init__(self, app: App, heritage: Heritage, tools: Tools, nursery: trio.Nursery) -> None:
        self._app = app
        self._heritage = heritage
        self._tools = tools
        self._nursery = nursery
        self._kept = dict(heritage.kept)

    def __repr__(self) -> str:
        """How much there is."""
        return f"<Adoption of {len(self._heritage.kept)} processes>"

    def run(self) -> None:
        """Take over all of it. Never waits: replacing goes on in the nursery."""
        self._recall_numbers()
        outdated: dict[str, list[Replica]] = {}
        for note in sorted(self._heritage.replicas, key=lambda note: note.index):
            unit = self._app.units.get(note.service)
            if unit is None:
                continue  # retired below, as all that is left there
            replica = self._recall(unit, note)
            is_same = note.sameness == fingerprint(self._app.spec, unit.spec)
            kept = self._kept.get(note.process_id)
            if kept is not None and not kept.has_ended and _is_fit(unit, note):
                del self._kept[note.process_id]
                self._adopt(replica, note, kept)
                if not is_same:
                    outdated.setdefault(unit.spec.name, []).append(replica)
                    self._app.outcome.replacing[replica] = note.generation
            elif note.state == State.DONE and is_same:
                replica.state = State.DONE
                unit.was_ready.set()
            else:
                if note.state in _RUNNING and (kept is None or kept.has_ended):
                    replica.missed(self._heritage.endings.get(note.process_id))
                replica.begin()
        for name in self._heritage.units.keys() - self._app.units.keys():
            self._app.notes.drop_unit(name)
        if outdated:
            self._nursery.start_soon(self._replace_all, outdated)
        for process_id in self._kept:
            self._nursery.start_soon(retire, self._tools.processes, process_id)

    def _recall_numbers(self) -> None:
        told = self._heritage.app
        self._tools.launcher.recall(told.count)
        for name, wanted in told.wanted.items():
            if name in self._app.units:
                self._app.units[name].recall(wanted, is_fixed=name in told.fixed)

    def _recall(self, unit: Service, note: ReplicaNote) -> Replica:
        """Return a replica with what is known of it; nothing of it runs yet."""
        replica = self._app.add(unit, note.index)
        replica.recall(note.generation, note.failures, note.last_exit)
        replica.endings.extend(note.changes)
        if note.place is not None:
            self._tools.programs.keep_place(note.name, *note.place)
        return replica

    def _adopt(self, replica: Replica, note: ReplicaNote, kept: Kept) -> None:
        identity = Identity(
            app=self._app.spec.name,
            service=note.service,
            replica=note.index,
            generation=note.generation,
            nonce=note.nonce,
        )
        addresses = {name: Address(*where) for name, where in note.addresses.items()}
        cpus = {int(cpu): share for cpu, share in note.cpus.items()}
        self._tools.ledger.restore(replica, Assignment(tuple(note.gpus), cpus, note.memory))
        replica.adopt(kept.pid)
        if replica.spec.command is None:
            self._app.expect(replica, identity, addresses)
            self._tools.launcher.keep(replica.process_id, [where.path for where in addresses.values()])
        else:
            self._tools.programs.adopt(replica)
        self._app.follow(replica)
        if note.state in {State.READY, State.UNREADY}:
            replica.post(Happening.READY)
        self._app.notes.started(replica, note.sameness, note.versions)
        if replica.spec.command is None:
            self._nursery.start_soon(_expect_back, replica)

    async def _replace_all(self, outdated: dict[str, list[Replica]]) -> None:
        """Callees first: who calls them goes on with what they had, and its next process may find what is new."""
        waves = stop_waves({name: unit.spec for name, unit in self._app.units.items()})[::-1]
        for wave in waves:
            async with trio.open_nursery() as nursery:
                for name in wave:
                    nursery.start_soon(self._replace, outdated.get(name, ()))

    async def _replace(self, replicas: Sequence[Replica]) -> None:
        """Restart replicas one after the other, each as soon as it can be asked to finish its calls."""
        outcome = self._app.outcome
        for replica in replicas:
            with trio.move_on_after(BACK):
                if replica.spec.command is None:
                    await replica.attempt.joined.wait()
            generation = outcome.replacing.get(replica)
            if generation is None:
                continue  # it ended by itself, and came back as it is to be; or an earlier one did not
            if replica.generation == generation:
                self._app.outdated.add(replica)
                replica.post(Happening.RESTART, REASON)
            await _until_back(replica, generation)
            if replica.state is State.FAILED:
                outcome.give_up(f"{replica.name}: {replica.reason}; nothing else is replaced")
                outcome.keep()


def _is_fit(unit: Service, note: ReplicaNote) -> bool:
    """Whether a process can be adopted. How far the probes of a program were that was not ready yet is not known."""
    is_program = unit.spec.command is not None
    if is_program != (note.place is not None):
        return False
    return not is_program or note.state in {State.READY, State.UNREADY}


async def _until_back(replica: Replica, generation: int) -> None:
    over = {State.READY, State.FAILED, State.STOPPED, State.DONE}
    while replica.generation == generation or replica.state not in over:
        await replica.news.wait()


async def _expect_back(replica: Replica) -> None:
    process_id = replica.process_id
    with trio.move_on_after(BACK):
        await replica.attempt.joined.wait()
        return
    if replica.process_id == process_id:
        replica.post(Happening.LOST, f"it did not find its new daemon within {BACK:g} s")


async def retire(processes: Processes, process_id: str) -> None:
    """End a process that belongs to nothing any more."""
    gone = trio.Event()
    processes.adopt(process_id, lambda event: gone.set() if isinstance(event, Gone) else None)
    processes.signal(process_id, signal.SIGTERM)
    with trio.move_on_after(LAST_WORDS):
        await gone.wait()
        return
    processes.kill(process_id)
    await gone.wait()
