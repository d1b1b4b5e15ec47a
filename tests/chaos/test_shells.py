"""Commands of many shells at once, at random: they are served one after the other, and no replica is there twice.

The seed is printed; `SVCD_SEED=... pytest tests/chaos/test_shells.py` plays a run again, `SVCD_SHELLS=20` makes it
longer.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Self

from running import RunningApp, write_app
from svcd.host.processes import environment_of, read_stat

if TYPE_CHECKING:
    from collections.abc import Iterator

SHELLS = int(os.environ.get("SVCD_SHELLS", "5"))
ORDERS = 3
"""Commands of each shell."""
SERVICE = """
    import svcd

    @svcd.service
    class Words:
        @svcd.api
        async def ping(self) -> int:
            return 1

    @svcd.service
    class Entry:
        words = svcd.depends(Words)

        @svcd.api
        async def ping(self) -> int:
            return await self.words.ping()
"""
COMMANDS = [
    *(("restart", "Words"), ("restart", "Words/1"), ("restart", "Entry"), ("scale", "Words=1"), ("scale", "Words=3")),
    *(("ps",), ("status",), ("down",), ("up", "-d"), ("up", "--wait")),
]
ALLOWED = {0, 1, 3, 4}
"""Whoever stops, starts or scales meanwhile makes others fail, in words; nobody hangs, and nobody sees a traceback."""


class Census:
    """Looks through /proc, again and again, for two processes of one replica."""

    def __init__(self, app: RunningApp) -> None:
        self._app = app
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.looks = 0
        self.doubles: list[list[tuple[int, str]]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.02):
            found = defaultdict(list)
            for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
                if name := self._replica_of(pid):
                    found[name.partition("#")[0]].append((pid, name))
            # One look takes a while: only those that are still there afterwards were there together.
            still = (
                [each for each in those if self._is_main(*each, those)] for those in found.values() if len(those) > 1
            )
            self.doubles += [those for those in still if len(those) > 1]
            self.looks += 1

    def _is_main(self, pid: int, name: str, those: list[tuple[int, str]]) -> bool:
        """Whether it is there still, and was not started by one of the others."""
        stat = read_stat(pid)
        return self._replica_of(pid) == name and stat is not None and stat.parent not in {other for other, _ in those}

    def _replica_of(self, pid: int) -> str | None:
        stat = read_stat(pid)
        is_ours = (
            stat is not None and stat.state not in {"Z", "X"} and environment_of(pid, "SVCD_APP") == self._app.name
        )
        return environment_of(pid, "SVCD_REPLICA") if is_ours else None


def orders(seed: int, shell: int) -> Iterator[tuple[str, ...]]:
    chance = random.Random(f"{seed} {shell}")  # noqa: S311  (to be played again)
    return (chance.choice(COMMANDS) for _ in range(ORDERS))


def test_commands_of_many_shells_are_served_one_after_the_other(tmp_path: Path) -> None:
    seed = int(os.environ.get("SVCD_SEED", random.randrange(10**6)))  # noqa: S311  (as above)
    print(f"SVCD_SEED={seed}")  # noqa: T201  (for whoever plays it again)
    codes: Counter[tuple[str, int]] = Counter()
    wrong: list[str] = []
    toml = "[services.Words]\nscaling = { min_replicas = 2, max_replicas = 3 }\n"
    with RunningApp(write_app(tmp_path / "app", SERVICE, toml, entry="Entry")) as app:
        app.svcd("up", "--wait")

        def shell(number: int) -> None:
            for words in orders(seed, number):
                done = app.svcd(*words, code=None)
                codes[words[0], done.returncode] += 1
                is_told = done.returncode == 0 or done.stderr.strip()
                if done.returncode not in ALLOWED or "Traceback" in done.stderr or not is_told:
                    wrong.append(f"{words} -> {done.returncode}: {done.stderr}")

        with Census(app) as census:
            shells = [threading.Thread(target=shell, args=(number,)) for number in range(SHELLS)]
            for each in shells:
                each.start()
            for each in shells:
                each.join()
        assert app.svcd("down").stdout in {"stopped\n", "not running\n"}
        assert not app.processes()
        assert "Traceback" not in app.log("daemon")
    assert codes.total() == SHELLS * ORDERS
    assert wrong == []
    assert census.looks > 10
    assert census.doubles == []
