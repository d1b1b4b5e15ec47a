"""What all tests share: the fixtures of a running app and of a fake box of GPUs, and what this machine can do."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings

from running import RunningApp, write_app
from svcd.host.cgroup_tree import Around

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

for number in (signal.SIGINT, signal.SIGHUP):
    # A shell ignores these for what it runs in the background, and all that the tests start would ignore them too.
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

pytest_plugins = ["fakenvml.fixtures"]
# How long an example takes says how busy the machine is. In CI, hypothesis itself repeats the same examples each time.
settings.register_profile("svcd", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings(), max_examples=5_000, deadline=None)  # for `make fuzz`
settings.load_profile("svcd")

HERE = Path(__file__).parent
LONGEST = (
    "chaos/test_adoption.py",
    "chaos/test_adoption_ends.py",
    "chaos/test_daemon_deaths.py",
    "chaos/test_fault_table.py",
    "chaos/test_task_deaths.py",
    "docs/test_docs_snippets.py",
    "integration/commands/test_command_services.py",
    "integration/examples/test_digits.py",
    "integration/test_bad_input_at_start.py",
    "integration/test_cli.py",
    "integration/test_compiled_core.py",
    "integration/test_init.py",
    "integration/test_pinning.py",
    "integration/worker/test_worker_replica.py",
)
"""Modules to begin with: all other workers wait for a long one that is begun last."""


def pytest_collection_finish() -> None:
    """Leave the thousands of tests that were collected, which stay for good, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


class MakeApp(Protocol):
    """Makes an app that ends with the test."""

    def __call__(
        self,
        service: str,
        toml: str = "",
        *,
        entry: str,
        env: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> RunningApp:
        """Write the app's files; `up()` starts it."""


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """`app = make_app(SERVICE_PY, TOML, entry="Entry").up()`; ended and checked for leftovers after the test."""
    yield from _apps_below(tmp_path)


@pytest.fixture(scope="module")
def share_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeApp]:
    """The same for a module's own fixture: what it makes ends with the module, and is checked then."""
    yield from _apps_below(tmp_path_factory.mktemp("apps"))


def _apps_below(base: Path) -> Iterator[MakeApp]:
    apps: list[RunningApp] = []

    def make(
        service: str,
        toml: str = "",
        *,
        entry: str,
        env: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> RunningApp:
        folder = write_app(base / f"app{len(apps)}", service, toml, entry=entry)
        apps.append(RunningApp(folder, env=env, options=options))
        return apps[-1]

    yield make
    for app in apps:
        app.__exit__(None, None, None)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter. pytest's own are below one that each new session of it shuts."""
    folder = Path(tempfile.mkdtemp(prefix="svcd-open-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and so count, what this machine cannot run; and begin with the longest, whatever order there is else."""
    first = {HERE / name for name in LONGEST}
    if lost := [path for path in first if not path.exists()]:
        raise pytest.UsageError(f"{__file__}: LONGEST names what is not there: {lost}")
    lacking = {
        "root": None if os.geteuid() == 0 else "needs root",
        "cgroup": _why_no_memory_groups(),
        "postgres": None if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")) else "needs Debian's postgresql",
        "torch": None if find_spec("torch") else "needs torch (make torch)",
        "systemd": None if _can_boot_systemd() else "needs root, unshare and /lib/systemd/systemd",
    }
    for item in items:
        for capability, reason in lacking.items():
            if reason and item.get_closest_marker(capability):
                item.add_marker(pytest.mark.skip(reason=reason))
    items.sort(key=lambda item: item.path not in first)


def _why_no_memory_groups() -> str | None:
    """Why no process here can be given a control group that limits its memory."""
    if os.geteuid() != 0:
        return "needs root"
    around = Around.read()
    # Of version 2 groups are made in a delegated subtree only, and a test runner is in none as a rule.
    return None if "memory" in around.first else "needs control groups of version 1 with the memory controller"


def _can_boot_systemd() -> bool:
    tools = ("unshare", "nsenter", "/lib/systemd/systemd")
    return os.geteuid() == 0 and all(map(shutil.which, tools))
