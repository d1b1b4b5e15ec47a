"""Every setting of a process, seen in the live replica that has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from probe import SERVICE, call, limits

from running import wait_until

if TYPE_CHECKING:
    from conftest import MakeApp

LIMITS = {
    "as": ('"64Gi"', "Max address space", 64 << 30),
    "core": ("0", "Max core file size", 0),
    "cpu": ('"1h"', "Max cpu time", 3600),
    "data": ('"32Gi"', "Max data size", 32 << 30),
    "fsize": ('"1Gi"', "Max file size", 1 << 30),
    "memlock": ('"4Mi"', "Max locked memory", 4 << 20),
    "msgqueue": ('"400Ki"', "Max msgqueue size", 400 << 10),
    "nofile": ("300", "Max open files", 300),
    "nproc": ("5000", "Max processes", 5000),
    "rtprio": ("0", "Max realtime priority", 0),
    "sigpending": ("1000", "Max pending signals", 1000),
    "stack": ('"4Mi"', "Max stack size", 4 << 20),
}


def test_each_setting_is_in_force(make_app: MakeApp) -> None:
    rlimits = ", ".join(f"{name} = {said}" for name, (said, _, _) in LIMITS.items())
    toml = f"""
        [services.Probe]
        cwd = "work"
        umask = "027"
        nice = 3
        rlimits = {{ {rlimits} }}
    """
    app = make_app(SERVICE, toml, entry="Probe")
    (app.folder / "work").mkdir()
    app.up()
    seen = call(app, "look")
    assert seen["cwd"] == str(app.folder / "work")
    assert seen["at_start"]["umask"] == 0o027
    assert seen["nice"] == 3
    found = limits(seen["limits"])
    assert {kernel: found[kernel] for _, kernel, _ in LIMITS.values()} == {
        kernel: (str(value), str(value)) for _, kernel, value in LIMITS.values()
    }


def test_a_decorator_sets_them_too(make_app: MakeApp) -> None:
    service = SERVICE.replace(
        "@svcd.service\n    class Probe:",
        "@svcd.service(umask='007', nice=2, cwd='/', rlimits={'nofile': 400, 'core': 'unlimited'})\n    class Probe:",
    )
    seen = call(make_app(service, "[services.Probe]\nnice = 4", entry="Probe").up(), "look")
    assert (seen["at_start"]["umask"], seen["nice"], seen["cwd"]) == (0o007, 4, "/")
    assert limits(seen["limits"])["Max open files"] == ("400", "400")
    assert limits(seen["limits"])["Max core file size"] == ("unlimited", "unlimited")


def test_a_working_directory_that_is_not_there(make_app: MakeApp) -> None:
    app = make_app(SERVICE, '[services.Probe]\ncwd = "gone"', entry="Probe").up(wait=False)
    wait_until(lambda: app.daemon_ended, "svcd to give up")
    assert f"cannot enter the directory {app.folder}/gone: No such file or directory" in app.stderr


def test_a_cpu_share_chooses_cpus_and_threads(make_app: MakeApp) -> None:
    toml = """
        [services.Probe]
        resources.cpu = 1
        [services.Neighbour]
        resources.cpu = "500m"
    """
    app = make_app(SERVICE, toml, entry="Probe").up()
    seen = call(app, "look")
    (own,) = seen["cpus"]
    (other,) = os.sched_getaffinity(app.row("Neighbour")["pid"])
    assert own != other
    expected = {"OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON"}
    assert {f"{name}_NUM_THREADS": "1" for name in expected}.items() <= seen["environ"].items()
    assert seen["environ"]["TOKENIZERS_PARALLELISM"] == "false"
    assert os.sched_getaffinity(app.row("ingress")["pid"]) == os.sched_getaffinity(0)


@pytest.mark.parametrize(("envs", "threads"), [("{}", 1), ('{ OPENBLAS_NUM_THREADS = "2" }', 2)])
def test_numpy_starts_as_many_threads_as_the_share_has_cores(make_app: MakeApp, envs: str, threads: int) -> None:
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")
    app = make_app(SERVICE, f"[services.Probe]\nresources.cpu = 1.5\nenvs = {envs}", entry="Probe").up()
    pools = dict(map(tuple, call(app, "threads")))
    assert pools.get("openblas", threads) == threads


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        ("cpu = 5000", "needs 5000 CPUs; this machine has "),
        ('memory = "8Pi"', "needs 8Pi of memory; this machine has "),
    ],
)
def test_what_does_not_fit_stays_pending_with_the_arithmetic(make_app: MakeApp, share: str, reason: str) -> None:
    app = make_app(SERVICE, f"[services.Probe]\nresources.{share}", entry="Probe").up(wait=False)
    wait_until((app.runtime / "control.sock").exists, "the daemon")
    row = wait_until(lambda: next((r for r in app.rows() if r["service"] == "Probe" and r["reason"]), None), "a reason")
    assert row["state"] == "pending"
    assert row["reason"].startswith(reason)


def test_shares_that_only_fit_one_after_the_other(make_app: MakeApp) -> None:
    every = len(os.sched_getaffinity(0))
    toml = f"""
        [services.Neighbour]
        scaling.min_replicas = {every}
        resources.cpu = 1
    """
    app = make_app(SERVICE, toml, entry="Probe").up().all_up()
    taken = [os.sched_getaffinity(row["pid"]) for row in app.rows() if row["service"] == "Neighbour"]
    assert sorted(cpu for cpus in taken for cpu in cpus) == sorted(os.sched_getaffinity(0))
    app.svcd("scale", f"Neighbour={every + 1}", code=None)
    row = wait_until(lambda: next((r for r in app.rows() if r["state"] == "pending" and r["reason"]), None), "a reason")
    assert row["reason"] == f"needs 1 CPU; 0 of {every} free, {every} held by replicas"
