"""Whole GPUs for replicas, from driver to environment: the real pynvml in a real daemon, on boxes described in TOML."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from fakenvml.box import Box, uuid_of
from running import wait_until
from svcd.host.processes import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import MakeApp
    from running import RunningApp

    FakeBox = Callable[[str], dict[str, str]]

GPU = "[[gpu]]\n"

MODELS = """
    import os, svcd

    class Sees:
        @svcd.api
        async def environment(self) -> dict[str, str]:
            return dict(os.environ)

    @svcd.service(resources={"gpu": 1})
    class One(Sees): pass

    @svcd.service(resources={"gpu": 2})
    class Two(Sees): pass

    @svcd.service
    class Plain(Sees):
        one = svcd.depends(One)
        two = svcd.depends(Two)
"""


def devices(row: dict[str, Any]) -> list[str]:
    """What CUDA would show to the process of a row."""
    value = environment_of(row["pid"], "CUDA_VISIBLE_DEVICES")
    assert value is not None, "an absent variable shows every device"
    return value.split(",") if value else []


def ask(app: RunningApp, api: str, **args: object) -> Any:
    return json.loads(app.svcd("call", api, json.dumps(args)).stdout)


def test_every_replica_has_gpus_of_its_own(make_app: MakeApp, fake_box: FakeBox) -> None:
    toml = "[services.One]\nscaling = { min_replicas = 2 }\n"
    stray = {"CUDA_VISIBLE_DEVICES": "7", "CUDA_DEVICE_ORDER": "FASTEST_FIRST", "CUDA_HOME": "/stray"}
    box = fake_box(GPU * 5)
    app = make_app(MODELS, toml, entry="Plain", env={**box, **stray}).up().all_up()
    rows = {f"{row['service']}/{row['replica']}": row for row in app.rows()}
    for name, count in {"One/0": 1, "One/1": 1, "Two/0": 2, "Plain/0": 0, "ingress/0": 0}.items():
        assert len(rows[name]["gpus"]) == count, name
        assert devices(rows[name]) == rows[name]["gpus"], name
    given = [uuid for row in rows.values() for uuid in row["gpus"]]
    assert len(set(given)) == len(given) == 4
    assert set(given) <= {uuid_of(index) for index in range(5)}
    # What the code of a service sees: UUIDs need no CUDA_DEVICE_ORDER, and neither the shell's variables nor the
    # daemon's way to the driver come along.
    seen = ask(app, "Two.environment")
    assert {key: seen[key] for key in seen if key.startswith(("CUDA", "LD_"))} == {
        "CUDA_VISIBLE_DEVICES": ",".join(rows["Two/0"]["gpus"])
    }
    assert ask(app, "Plain.environment")["CUDA_VISIBLE_DEVICES"] == ""


def test_a_killed_replica_comes_back_on_its_gpus(make_app: MakeApp, fake_box: FakeBox) -> None:
    toml = "[services.One]\nscaling = { min_replicas = 2 }\n"
    app = make_app(MODELS, toml, entry="Plain", env=fake_box(GPU * 4)).up().all_up()
    before = {(row["service"], row["replica"]): row["gpus"] for row in app.rows()}
    pid = app.row("One")["pid"]
    os.kill(pid, signal.SIGKILL)
    back = wait_until(lambda: (row := app.row("One"))["state"] == "ready" and row["pid"] != pid and row, "One/0 again")
    assert devices(back) == back["gpus"]
    assert {(row["service"], row["replica"]): row["gpus"] for row in app.rows()} == before


def test_too_few_gpus_is_pending_with_the_arithmetic(make_app: MakeApp, fake_box: FakeBox) -> None:
    toml = "[services.One]\nscaling = { min_replicas = 2 }\n"
    app = make_app(MODELS, toml, entry="Plain", env=fake_box(GPU * 2)).up(wait=False)
    reason = "needs 2 GPUs; 0 of 2 free, 2 held by other replicas"
    wait_until(lambda: reason in app.stderr, "the pending line of svcd up")
    (line,) = (line for line in app.stderr.splitlines() if reason in line)
    assert line.split()[:2] == ["Two/0", "pending"]
    wait_until(lambda: app.row("One", 1)["state"] == "ready", "the others")
    row = app.row("Two")
    assert (row["state"], row["reason"], row["gpus"], row["pid"]) == ("pending", reason, [], None)
    assert reason in app.svcd("ps").stdout
    wait_until(lambda: "waiting for Two" in app.row("Plain")["reason"], "the entry to wait for it")


def test_more_than_the_box_has_is_said_so(make_app: MakeApp, fake_box: FakeBox) -> None:
    app = make_app(MODELS, entry="Two", env=fake_box(GPU)).up(wait=False)
    wait_until(lambda: "needs 2 GPUs; this box has 1 in all" in app.stderr, "the pending line")
    assert app.row("Two")["reason"] == "needs 2 GPUs; this box has 1 in all"


FAILING = """
    import os, svcd

    @svcd.service(resources={"gpu": 1})
    class Model:
        def __init__(self) -> None:
            if os.environ["SVCD_REPLICA"].startswith("Model/0"):
                os._exit(8)

        @svcd.api
        async def gpus(self) -> str:
            return os.environ["CUDA_VISIBLE_DEVICES"]
"""


def test_a_gpu_that_is_released_goes_to_who_waits(make_app: MakeApp, fake_box: FakeBox) -> None:
    """Not while its holder has attempts left, and at once when that is given up."""
    toml = "[services.Model]\nscaling = { min_replicas = 2 }\n"
    app = make_app(FAILING, toml, entry="Model", env=fake_box(GPU)).up()
    assert app.post("gpus") == (200, uuid_of(0).encode())
    failed, ready = app.row("Model", 0), app.row("Model", 1)
    assert (failed["state"], failed["gpus"], failed["restarts"]) == ("failed", [], 4)
    assert (ready["state"], ready["gpus"], ready["restarts"]) == ("ready", [uuid_of(0)], 0)
    log = app.log("daemon")
    assert log.index("needs 1 GPU; 0 of 1 free, 1 held by other replicas") < log.index("Model/0: backoff -> failed")
    assert log.index("Model/0: backoff -> failed") < log.index("Model/1: pending -> starting")


def test_up_wait_gives_up_at_its_timeout_and_the_app_goes_on(make_app: MakeApp, fake_box: FakeBox) -> None:
    app = make_app(MODELS, entry="One", env=fake_box("init_error = 9\n"))
    try:
        done = app.svcd("up", "-d", "--wait", "--timeout", "1", code=5)
        assert "pending" in done.stderr
        assert "needs 1 GPU; this box has none (the NVIDIA driver is not loaded)" in done.stderr
        assert "not ready after 1 s; it goes on starting" in done.stderr
        assert app.row("One")["state"] == "pending"
    finally:
        app.svcd("down")


@pytest.mark.skipif(os.path.exists("/dev/nvidiactl"), reason="this machine has a driver")  # noqa: PTH110 - one look
def test_without_a_driver_a_gpu_is_waited_for_and_the_cause_named(make_app: MakeApp) -> None:
    app = make_app(MODELS, entry="One", env={"LD_LIBRARY_PATH": ""}).up(wait=False)
    wait_until(lambda: "this box has none" in app.stderr, "the pending line")
    assert app.row("One")["reason"] == (
        "needs 1 GPU; this box has none (no NVIDIA driver is installed (libnvidia-ml.so.1 was not found))"
    )
    assert "GPUs: no NVIDIA driver is installed" in app.log("daemon")


CPU_ONLY = """
    import svcd

    @svcd.service
    class Plain:
        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""

MIXED = """
    import svcd

    @svcd.service(resources={"gpu": 1})
    class Model:
        @svcd.api
        async def ping(self) -> str:
            return "pong"

    @svcd.service
    class Plain:
        model = svcd.depends(Model, optional=True)

        @svcd.api
        async def ping(self) -> str:
            return "pong"
"""


def test_a_hung_driver_does_not_hold_up_who_needs_no_gpu(make_app: MakeApp, fake_box: FakeBox) -> None:
    """The reader of the GPUs is not even started."""
    app = make_app(CPU_ONLY, entry="Plain", env=fake_box("hang = 3600\n" + GPU)).up()
    assert app.post("ping") == (200, b"pong")
    assert "GPUs" not in app.log("daemon")


def test_a_hung_driver_holds_up_only_who_needs_a_gpu(make_app: MakeApp, fake_box: FakeBox) -> None:
    app = make_app(MIXED, entry="Plain", env=fake_box("hang = 3600\n" + GPU)).up()
    assert app.post("ping") == (200, b"pong")
    reason = "needs 1 GPU; the driver has not said yet what there is"
    wait_until(lambda: app.row("Model")["reason"] == reason, "the reason")
    assert app.row("Model")["state"] == "pending"
    assert app.svcd("down").stdout == "stopped\n"


def test_a_driver_that_is_loaded_late_is_found(make_app: MakeApp, make_box: Callable[[str], Box]) -> None:
    box = make_box("init_error = 9\n")
    app = make_app(MODELS, entry="One", env=box.env).up(wait=False)
    wait_until(lambda: "the NVIDIA driver is not loaded" in app.stderr, "the pending line")
    box.describe(GPU)
    wait_until(lambda: "ready after" in app.stderr, "the app to be ready")
    assert app.row("One")["gpus"] == [uuid_of(0)]


def test_devices_that_cannot_be_used_are_part_of_the_reason(make_app: MakeApp, fake_box: FakeBox) -> None:
    app = make_app(MODELS, entry="Two", env=fake_box(GPU + GPU + "error = 15\n")).up(wait=False)
    wait_until(lambda: "GPU is lost" in app.stderr, "the pending line")
    assert app.row("Two")["reason"] == "needs 2 GPUs; this box has 1 in all (GPU 1 is not used: NVML: GPU is lost)"


def test_check_says_who_waits_on_a_box_without_gpus(make_app: MakeApp, fake_box: FakeBox) -> None:
    toml = """
        [services.One]
        resources = { gpu = 1, gpu_type = "H100" }
    """
    service = """
        import svcd

        @svcd.service
        class One:
            pass

        @svcd.service
        class Top:
            one = svcd.depends(One, optional=True)
    """
    app = make_app(service, toml, entry="Top", env=fake_box("init_error = 9\n"))
    assert app.svcd("check").stderr.startswith("svcd: no GPUs here, so One will stay pending: ")


def test_gpu_type_is_what_is_given(make_app: MakeApp, fake_box: FakeBox) -> None:
    toml = """
        [instance_types.small]
        gpu = 1
        gpu_type = "T4"

        [services.One]
        instance_type = "small"

        [services.Two]
        resources = { gpu = 1, gpu_type = "a10" }
    """
    app = make_app(MODELS, toml, entry="Plain", env=fake_box("four-mixed")).up()
    given = {row["service"]: row["gpus"] for row in app.rows()}
    assert given["One"] == [uuid_of(0)]
    assert given["Two"] == [uuid_of(1)]


@pytest.mark.parametrize("command", ["check", "up"])
def test_a_type_that_the_box_does_not_have_is_told_before_anything_starts(
    command: str, make_app: MakeApp, fake_box: FakeBox
) -> None:
    toml = """
        [services.One]
        resources = { gpu_type = "H100" }

        [services.Two]
        resources = { gpu_type = "A10" }
    """
    app = make_app(MODELS, toml, entry="Plain", env=fake_box("four-mixed"))
    done = app.svcd(command, code=1)
    has = "it has 1 x Tesla T4, 1 x NVIDIA A10"
    assert f"services.One.resources.gpu_type: this box has none for One: {has}\n" in done.stderr
    assert (
        f"services.Two.resources.gpu_type: this box has 1 of them, and a replica of Two needs 2: {has}\n" in done.stderr
    )
    assert done.stdout == ""
