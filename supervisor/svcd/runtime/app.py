"""The running app: it makes the replicas the spec wants, starts them in order, and stops them in reverse.

It is the surroundings that every replica acts in: it turns a replica's wishes into orders to the keeper and words to
the workers, and turns what those answer into happenings.
"""

from __future__ import annotations

import itertools
import signal
from typing import TYPE_CHECKING, Any

import trio

from svcd.policy.environment import secret_names
from svcd.policy.groups import units_of
from svcd.policy.lifecycle import Happening, State
from svcd.policy.order import callees, needed, stop_waves
from svcd.policy.sameness import fingerprint
from svcd.runtime.adoption import Adoption, Tools
from svcd.runtime.autoscaler import Autoscaler
from svcd.runtime.heritage import Notes
from svcd.runtime.links import Links
from svcd.runtime.outcome import Outcome
from svcd.runtime.programs import Programs
from svcd.runtime.replica import Replica
from svcd.runtime.service import Service
from svcd.runtime.starts import Starts
from svcd.runtime.whereabouts import Whereabouts
from svcd.values.orders import Event, Exited, Gone, Spawn, Spawned, SpawnFailed

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

    from svcd.policy.autoscaling import Decision
    from svcd.runtime.heritage import Heritage
    from svcd.runtime.launch import Launcher
    from svcd.runtime.ledger import Ledger
    from svcd.runtime.processes import Processes
    from svcd.values.boot import Address, Identity
    from svcd.values.events import Change
    from svcd.values.specs import AppSpec


class App:
    """All services of one app, the ingress included."""

    def __init__(
        self,
        spec: AppSpec,
        *,
        processes: Processes,
        launcher: Launcher,
        ledger: Ledger,
        chance: Callable[[], float],
        tell: Callable[[Change], None],
        scaled: Callable[[Service, int, str], None] = lambda _service, _before, _reason: None,
        heritage: Heritage | None = None,
    ) -> None:
        """Make the services; nothing runs before `run`.

        heritage: what an earlier daemon left running, to be taken over.
        scaled: told of a unit whose number of replicas follows the load, how many there were to be, and why it changed.
        """
        self.spec = spec
        self.units = {name: Service(unit) for name, unit in units_of(spec.services, spec.groups).items()}
        """What is started and scaled as one: services, and groups by the name of their first member."""
        self.services = {each.name: unit for unit in self.units.values() for each in unit.spec.all}
        """By the name of a service, members of groups too: the unit that it runs in."""
        self.outcome = Outcome(self.units, needed({name: unit.spec for name, unit in self.units.items()}))
        self.autoscaler = Autoscaler(self.units, self._follow)
        self.links = Links(self)
        self._starts = Starts(self.services, spec.start_parallelism)
        self.is_stopping = False
        """Whether nothing more is started, however many there should be."""
        self._processes = processes
        self._launcher = launcher
        self._ledger = ledger
        self._chance = chance
        self._tell = tell
        self._scaled = scaled
        self._replicas: trio.Nursery
        self._programs = Programs(spec.services.values(), launcher, processes, self._start_soon)
        self.whereabouts = Whereabouts(spec, self.services, self._programs)
        self._heritage = heritage
        self.notes = Notes(processes.send if spec.orphan_grace else None)
        self.outdated: set[Replica] = set()
        """Those that give back what they hold before their next process, which may need something else."""

    def __repr__(self) -> str:
        """Name and services."""
        return f"<App {self.spec.name} {list(self.units.values())}>"

    def _start_soon(self, task: Callable[[], Awaitable[None]]) -> None:
        self._replicas.start_soon(task)  # which comes with `run`

    @property
    def was_taken_over(self) -> bool:
        """Whether it ran before there was this daemon."""
        return self._heritage is not None

    async def run(
        self, listener: socket.socket, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Start everything and live until cancelled or stopped. listener: the socket for control channels.

        Started, for `nursery.start`, once it takes orders.
        """
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.links.run, listener)
            nursery.start_soon(self.autoscaler.run)
            nursery.start_soon(self.outcome.run)
            async with trio.open_nursery() as replicas:
                self._replicas = replicas
                if self._heritage is not None:
                    tools = Tools(self._launcher, self._ledger, self._programs, self._processes)
                    Adoption(self, self._heritage, tools, replicas).run()
                for service in self.units.values():
                    self._fit(service)
                task_status.started()
            nursery.cancel_scope.cancel()

    def add(self, service: Service, index: int) -> Replica:
        """Let a service have one more replica, which is yet to begin, or to be given a process."""
        replica = Replica(service.spec, index, self, self._chance)
        service.replicas.append(replica)
        self._replicas.start_soon(self._live, service, replica)
        return replica

    def expect(self, replica: Replica, identity: Identity, addresses: Mapping[str, Address]) -> None:
        """Let the replica's process in at the link, and callers know where it is."""
        self.whereabouts.keep(replica.process_id, addresses)
        self.links.expect(identity, replica)

    def follow(self, replica: Replica) -> None:
        """Hear what becomes of a process that runs already."""
        environment = self.environment_of(replica)
        replica.secrets = frozenset(environment[name] for name in secret_names(environment, replica.spec))
        self._processes.adopt(replica.process_id, lambda event: self._heard(replica, event))

    def scale(self, name: str, wanted: int) -> int:
        """Fix how many replicas of a service there are, whatever the load; return how many there were to be."""
        service = self.services[name]
        before, service.wanted = service.wanted, wanted
        service.is_fixed = True
        self._fit(service)
        return before

    def _fit(self, service: Service) -> None:
        """Start what is missing, in the order of the indices; stop what is too many, the newest first."""
        if self.is_stopping:
            return
        staying = service.staying
        for replica in staying[service.wanted :]:
            replica.post(Happening.STOP, f"scaled down to {service.wanted}")
        for index in itertools.islice(service.free_indices(), max(0, service.wanted - len(staying))):
            self.add(service, index).begin()
        self.notes.write_app(self.units, self._launcher)

    async def _live(self, service: Service, replica: Replica) -> None:
        await replica.run()
        if service.wanted < len(service.replicas):
            service.replicas.remove(replica)  # scaled down; what an app's stop ended stays in the table
            self.notes.drop(replica)

    async def stop(self) -> None:
        """Stop every service, callers before what they call; return when nothing of any is left."""
        self.is_stopping = True
        for wave in stop_waves({name: service.spec for name, service in self.units.items()}):
            replicas = [replica for name in wave for replica in self.units[name].replicas]
            for replica in replicas:
                replica.post(Happening.STOP, "the app is stopping")
            for replica in replicas:
                await replica.stopped.wait()

    def replicas(self) -> list[Replica]:
        """Every replica, in the order of the services."""
        return [replica for service in self.units.values() for replica in service.replicas]

    def environment_of(self, replica: Replica) -> dict[str, str]:
        """The whole environment of the replica's present process."""
        of = self._programs if replica.spec.command else self._launcher
        return of.environment(replica)

    def _follow(self, service: Service, decision: Decision) -> None:
        before, service.wanted = service.wanted, decision.replicas
        self._scaled(service, before, decision.reason)
        self._fit(service)

    # What links ask.

    def demand(self, process_id: str, calls: dict[str, int]) -> None:
        """Let the number of replicas follow the load."""
        self.autoscaler.report(process_id, calls)

    def routes(self, caller: str) -> dict[str, Any]:
        """Routes of everything that the services of the unit `caller` may call in other processes."""
        return self.whereabouts.routes(caller)

    async def dependencies_ready(self, replica: Replica) -> None:
        """Hold a replica that has imported its code until all it requires has been ready, and it is its turn."""
        if self._starts.take(replica):
            return
        replica.post(Happening.HELD)
        await self._starts.wait(replica)
        replica.post(Happening.BEGUN)

    # What replicas ask: see svcd.runtime.replica.Surroundings.

    def request(self, replica: Replica) -> None:
        """Ask the ledger; a program, which nobody can hold once it runs, only when it may start."""
        if replica in self.outdated:
            self.outdated.remove(replica)
            self._ledger.release(replica)
        if replica.spec.command and not self._starts.take(replica):
            self._replicas.start_soon(self._request_later, replica)
        else:
            self._request(replica)

    def _request(self, replica: Replica) -> None:
        self._ledger.request(replica)
        if replica.assignment is None:  # it waits, and who waits holds no turn
            self._starts.over(replica)

    async def _request_later(self, replica: Replica) -> None:
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                await self._starts.wait(replica)
                if replica.state is State.PENDING:
                    self._request(replica)
                nursery.cancel_scope.cancel()

            nursery.start_soon(wait)
            await replica.stopped.wait()  # it may be given up while it waits
            nursery.cancel_scope.cancel()

    def release(self, replica: Replica) -> None:
        """Give back to the ledger."""
        self._ledger.release(replica)

    def spawn(self, replica: Replica) -> None:
        """Order the replica's next process."""
        try:
            order = self._programs.order(replica) if replica.spec.command else self._worker(replica)
        except OSError as error:
            self._heard(replica, SpawnFailed(replica.process_id, error.errno or 0, f"cannot be started: {error}"))
            return
        replica.secrets = frozenset(order.env[name] for name in secret_names(order.env, replica.spec))
        self.notes.write_app(self.units, self._launcher)
        self.notes.started(replica, fingerprint(self.spec, replica.spec))
        self._note(replica)
        self._processes.spawn(order, lambda event: self._heard(replica, event))

    def _worker(self, replica: Replica) -> Spawn:
        """Return the order for a process of ours, and expect it at the link."""
        order, identity, addresses = self._launcher.order(replica)
        self.expect(replica, identity, addresses)
        return order

    def terminate(self, replica: Replica) -> None:
        """SIGTERM to the main process, or what its program wants instead."""
        name = replica.spec.command.stop_signal if replica.spec.command else "SIGTERM"
        self._processes.signal(replica.process_id, signal.Signals[name])

    def ask_where(self, replica: Replica) -> None:
        """SIGQUIT to the main process, see worker/boot.py; to a program of others it would mean something else."""
        if replica.spec.command is None:
            self._processes.signal(replica.process_id, signal.SIGQUIT)

    def signal(self, replica: Replica, signum: int) -> None:
        """Signal the main process of a replica, and nothing that ever has its pid later."""
        self._processes.signal(replica.process_id, signum)

    def kill(self, replica: Replica) -> None:
        """SIGKILL to the whole tree."""
        self._processes.kill(replica.process_id)

    def drain(self, replica: Replica) -> None:
        """Callers have been told by the change of state; ask the worker to finish.

        A program cannot be asked: while somebody has its URL, that may be used until the drain limit.
        """
        if replica.spec.command is None:
            self.links.drain(replica)
        elif not self._is_used(replica.spec.name):
            replica.post(Happening.DRAINED)

    def _is_used(self, name: str) -> bool:
        users = [unit for unit in self.units.values() if name in callees(unit.spec)]
        return any(replica.pid is not None for unit in users for replica in unit.replicas)

    def changed(self, replica: Replica, change: Change) -> None:
        """Tell callers, whoever waits for the app, and subscribers."""
        service = self.services[replica.spec.name]
        if replica.state in {State.READY, State.DONE}:
            service.was_ready.set()
        if replica.state not in {State.PENDING, State.STARTING}:
            self._starts.over(replica)
        if change.before != change.state or change.reason:
            self.links.routes_changed()
        self.outcome.changed(replica)
        self._note(replica)
        self._tell(change)

    def _note(self, replica: Replica) -> None:
        """Leave to the next daemon what it has to know of a replica."""
        if self.spec.orphan_grace:
            place = self._programs.place(replica) if replica.spec.command else None
            nonce = self.links.nonce_of(replica.process_id)
            self.notes.write(replica, nonce=nonce, addresses=self.whereabouts.of(replica), place=place)

    def _heard(self, replica: Replica, event: Event) -> None:
        self._programs.heard(event, replica.process_id)
        match event:
            case Spawned():
                replica.pid = event.pid
                if not replica.attempt.joined.is_set():
                    replica.post(Happening.SPAWNED)
            case Exited():
                self._forget(event.id)
                replica.exited(event)
            case Gone():
                self._launcher.clear(event.id)
                replica.post(Happening.GONE)
                if replica.is_abandoned:
                    self._ledger.release(replica)
            case SpawnFailed():
                self._forget(event.id)
                self._launcher.clear(event.id)
                replica.attempt.failure = event.message
                replica.post(Happening.EXITED, event.message)
                replica.post(Happening.GONE)

    def _forget(self, process_id: str) -> None:
        self.links.forget(process_id)
        self._programs.forget(process_id)
        self.whereabouts.forget(process_id)
