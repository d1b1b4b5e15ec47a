"""A child says that it is ready with a newline on a descriptor of its own, as s6 has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from svcd.values.orders import Notified, Spawned

if TYPE_CHECKING:
    from kept_app import KeptApp


@pytest.mark.parametrize("fd", [3, 9])
async def test_the_first_newline_counts_and_what_follows_does_no_harm(app: KeptApp, fd: int) -> None:
    script = f"ls /proc/self/fd; printf rea >&{fd}; printf 'dy\\nmore' >&{fd}; echo >&{fd}; sleep 0.05; echo >&{fd}"
    app.spawn("A/0#1", ["sh", "-c", script], notify_fd=fd)
    await app.expect(Spawned)
    assert await app.expect(Notified) == Notified("A/0#1")
    exited = await app.ended("A/0#1")
    assert exited.code == 0
    opened = 4 if fd == 3 else 3  # what ls lists the folder with
    assert [*map(int, exited.last_lines)] == sorted({0, 1, 2, fd, opened})


async def test_one_that_closes_its_descriptor_without_a_newline_says_nothing(app: KeptApp) -> None:
    app.spawn("A/0#1", ["sh", "-c", "printf no >&3; exec 3>&-"], notify_fd=3)
    await app.expect(Spawned)
    assert (await app.ended("A/0#1")).code == 0


async def test_a_log_without_a_path_keeps_the_last_lines_only(app: KeptApp) -> None:
    app.spawn("A/0#1", ["echo", "said"], log="")
    await app.expect(Spawned)
    assert (await app.ended("A/0#1")).last_lines == ["said"]
    assert not (app.folder / "logs").exists()
