"""From a replica to the order that starts its process: interpreter, environment, boot document."""

from __future__ import annotations

import secrets
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import svcd_ipc
from svcd.host.sockets import make_folder, remove_data_socket
from svcd.host.users import UnknownUserError, find_user
from svcd.policy.environment import build
from svcd.policy.liveness import beat_of
from svcd.policy.threads import thread_variables
from svcd.runtime.settings import user_ids
from svcd.values import boot
from svcd.values.orders import Spawn
from svcd.values.pulse import beside
from svcd.values.specs import INGRESS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from svcd.host.facts import Facts
    from svcd.host.program import Program
    from svcd.runtime.discovery import Reading
    from svcd.runtime.replica import Replica
    from svcd.values.places import Places
    from svcd.values.specs import AppSpec, DependencySpec, Process, ServiceSpec
    from svcd.values.tasks import TaskSettings

Addresses = dict[str, boot.Address]
"""Where the services of one process take calls, by service."""

BOOT_SCRIPT = Path(__file__).resolve().parent.parent / "worker" / "boot.py"
HTTP_SOCKET = "http"
DISCOVERY = "discovery#"
"""What the ids of discovery children begin with."""


class Launcher:
    """Makes spawn orders for the replicas of one app."""

    def __init__(
        self, app: AppSpec, places: Places, program: Program, host_environment: Mapping[str, str], facts: Facts
    ) -> None:
        self._app = app
        self._facts = facts
        self._places = places
        self._program = program
        self._host_environment = host_environment
        self._count = 0
        self._sockets: dict[str, list[str]] = {}

    def order(self, replica: Replica) -> tuple[Spawn, boot.Identity, Addresses]:
        """Return the order for the replica's present generation, the identity it will show, and its addresses."""
        spec = replica.spec
        user = user_ids(spec.process)
        addresses = {
            service.name: boot.Address(self.make_place(replica.process_id, self.number(), user), secrets.token_hex(16))
            for service in spec.all
        }
        identity = boot.Identity(
            app=self._app.name,
            service=spec.name,
            replica=replica.index,
            generation=replica.generation,
            nonce=secrets.token_hex(16),
        )
        is_ingress = spec.name == INGRESS
        document = (self._ingress_boot if is_ingress else self._replica_boot)(replica, identity, addresses)
        order = self.settled(
            replica,
            argv=list(self._program.ingress) if is_ingress and self._program.ingress else worker_argv(spec.python),
            env=self.environment(replica),
            stdin=boot.dump(document),
            sockets=[HTTP_SOCKET] if is_ingress else [],
        )
        return order, identity, addresses

    def settled(
        self,
        replica: Replica,
        *,
        argv: list[str],
        env: dict[str, str],
        stdin: bytes = b"",
        sockets: Sequence[str] = (),
        notify_fd: int = 0,
    ) -> Spawn:
        """Return an order with all that is the service's own, whatever it is that runs."""
        spec = replica.spec
        return Spawn(
            id=replica.process_id,
            argv=argv,
            env=env,
            cwd=spec.process.cwd or str(self._app.root),
            stdin=stdin,
            log=self._places.log(spec.name, None if spec.name == INGRESS and not replica.index else replica.index),
            sockets=[*sockets],
            umask=spec.process.umask,
            nice=spec.process.nice,
            rlimits=self._rlimits(spec),
            cpus=sorted(replica.assignment.cpus) if replica.assignment else [],
            user=user_ids(spec.process),
            cgroups=self._facts.groups.of(
                self._app.name, replica.process_id, memory=spec.resources.memory, cpu=_fraction(spec.resources.cpu)
            ),
            notify_fd=notify_fd,
            log_limits=[*astuple(self._app.logs)],
        )

    def clear(self, process_id: str) -> None:
        """Remove the sockets of a process of which nothing is left."""
        for path in self._sockets.pop(process_id, ()):
            remove_data_socket(path)

    @property
    def count(self) -> int:
        """The last number of a place."""
        return self._count

    def recall(self, count: int) -> None:
        """Go on counting where an earlier daemon was."""
        self._count = max(self._count, count)

    def keep(self, process_id: str, paths: Sequence[str]) -> None:
        """Take over the sockets of a process that runs already."""
        self._sockets[process_id] = [*paths]

    def number(self) -> int:
        """Return the number of a place that nobody else has."""
        self._count += 1
        return self._count

    def socket_path(self, number: int, user: Sequence[int]) -> str:
        """Return the path of the data socket of that number."""
        return self._places.own_data_socket(number) if user else self._places.data_socket(number)

    def notify_path(self, number: int) -> str:
        """Return the path of the socket at which the daemon hears a program of that number."""
        return self._places.notify_socket(number)

    def make_place(self, process_id: str, number: int, user: Sequence[int]) -> str:
        """Return the path for a socket of a process that is about to start, in a place where its user can make it."""
        path = self.socket_path(number, user)
        if user:
            make_folder(Path(path).parent, user[0])
        self._sockets.setdefault(process_id, []).append(path)
        return path

    def _rlimits(self, spec: ServiceSpec) -> dict[str, list[int]]:
        given = self._facts.descriptors
        # The ingress is ours and has a descriptor for each connection; services get what svcd was given.
        soft = given.hard if spec.name == INGRESS else given.soft
        return {"nofile": [soft, given.hard]} | {name: [most, most] for name, most in spec.process.rlimits.items()}

    def environment(self, replica: Replica) -> dict[str, str]:
        """Return the whole environment of the replica's present generation."""
        gpus = replica.assignment.gpus if replica.assignment else ()
        environment = replica_environment(self._app, replica.spec, replica.process_id, gpus, self._host_environment)
        return environment | (dict(self._program.loader) if replica.spec.name == INGRESS else {})

    def _replica_boot(self, replica: Replica, identity: boot.Identity, addresses: Addresses) -> boot.ReplicaBoot:
        return boot.ReplicaBoot(
            identity=identity,
            root=str(self._app.root),
            link=self._places.link,
            services=[self._service_boot(spec.name, addresses[spec.name]) for spec in replica.spec.all],
            beat=beat_of(replica.spec.liveness),
            outlives=self._app.orphan_grace > 0,
            hidden=list(replica.spec.secret_envs),
            spin=self._app.spin,
            arena=self._app.arena,
        )

    def _service_boot(self, name: str, address: boot.Address) -> boot.ServiceBoot:
        spec = self._app.services[name]
        return boot.ServiceBoot(
            name=name,
            target=spec.target,
            socket=address.path,
            secret=address.secret,
            timeout=spec.traffic.timeout,
            max_concurrency=spec.traffic.max_concurrency,
            max_queue=spec.traffic.max_queue,
            threads=spec.threads,
            async_backend=spec.async_backend,
            dependencies={edge.name: self._dependency(edge) for edge in spec.dependencies},
            liveness=spec.liveness,
            readiness=spec.readiness,
        )

    def _dependency(self, edge: DependencySpec) -> dict[str, Any]:
        fallback = self._callee(edge.fallback) if edge.fallback else None
        return self._callee(edge.service) | {"timeout": edge.timeout, "retries": edge.retries, "fallback": fallback}

    def _callee(self, service: str) -> dict[str, Any]:
        callee = self._app.services[service]
        return {
            "service": service,
            "max_queue": callee.traffic.max_queue,
            "default_timeout": callee.traffic.timeout,
            "apis": {api.name: {k: v for k, v in asdict(api).items() if k != "name"} for api in callee.apis},
        }

    def _ingress_boot(self, replica: Replica, identity: boot.Identity, addresses: Addresses) -> boot.IngressBoot:
        entry = self._app.services[self._app.entry]
        return boot.IngressBoot(
            identity=identity,
            link=self._places.link,
            entry=self._app.entry,
            timeout=entry.traffic.timeout,
            max_queue=entry.traffic.max_queue,
            limits=self._app.http.limits,
            cors=self._app.http.cors,
            # One listens there: of several, each would take it from the one before.
            socket="" if replica.index else self._places.http,
            tasks=self._tasks(entry),
            pulse=beside(addresses[INGRESS].path),
            beat=beat_of(replica.spec.liveness),
            outlives=self._app.orphan_grace > 0,
            spin=self._app.spin,
            arena=self._app.arena,
        )

    def _tasks(self, entry: ServiceSpec) -> TaskSettings | None:
        if not any(api.is_task for api in entry.apis):
            return None
        return replace(self._app.tasks, store=self._app.tasks.store or self._places.tasks)


def replica_environment(
    app: AppSpec, spec: ServiceSpec, process_id: str, gpus: Sequence[str], host_environment: Mapping[str, str]
) -> dict[str, str]:
    """Return the whole environment of a replica's process that got these GPUs."""
    extra = {
        # An empty list hides every device; an absent variable would show them all.
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "SVCD_APP": app.name,
        "SVCD_SERVICE": spec.name,
        "SVCD_REPLICA": process_id,
        **{name: value for name, value in host_environment.items() if name == "SVCD_PURE"},
    }
    usual = {**_identity_variables(spec.process), **thread_variables(spec.resources.cpu, spec.envs)}
    return build(spec.envs, host_environment, extra=extra, usual=usual)


def _identity_variables(process: Process) -> Mapping[str, str | None]:
    if not process.user:
        return {}
    try:
        return find_user(process.user, process.group).variables
    except UnknownUserError:  # a start refuses it; `svcd env` may be asked on another machine
        return {}


def _fraction(cpu: float | None) -> float | None:
    """A share that affinity alone does not keep, as it is not of whole CPUs."""
    return None if cpu is None or float(cpu).is_integer() else cpu


def needs_groups(spec: ServiceSpec) -> bool:
    """Whether a service has something that only a control group enforces."""
    return spec.resources.memory is not None or _fraction(spec.resources.cpu) is not None


def discovery_order(
    number: int, reading: Reading, root: str, report: str, places: Places, host_environment: Mapping[str, str]
) -> Spawn:
    """Return the order for a discovery child, whose report will lie at `report`."""
    name = f"{DISCOVERY}{number}"
    document = boot.DiscoverBoot(root=root, targets=reading.targets, report=report, asked_by=reading.asked_by)
    return Spawn(
        id=name,
        argv=worker_argv(reading.python),
        env=discovery_environment(host_environment, reading.process) | {"SVCD_REPLICA": name},
        cwd=root,
        stdin=boot.dump(document),
        log=places.log("discovery"),
        sockets=[],
    )


def discovery_environment(host_environment: Mapping[str, str], process: Process | None = None) -> dict[str, str]:
    """Environment of a process that only reads declarations: it sees no GPU, and no service's own variables."""
    usual = _identity_variables(process) if process else {}
    return build({}, host_environment, extra={"CUDA_VISIBLE_DEVICES": ""}, usual=usual)


def worker_argv(python: str) -> list[str]:
    """Command line of a worker: the boot script of this svcd under the service's own interpreter.

    The script takes its own folder off sys.path and finds the two packages itself. No flag goes before it: an
    interpreter that is too old is to say so, not that it does not know the flag.
    """
    return [python, str(BOOT_SCRIPT), "--ipc", str(Path(svcd_ipc.__file__).resolve().parent)]
