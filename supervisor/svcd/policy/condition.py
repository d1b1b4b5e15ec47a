"""What there is to say of the machine's condition and the daemon's: what happened between two looks, what is wrong.

All of it is said and nothing else is done about it: serving goes on as well as it can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from svcd.values.units import about

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.values.condition import Condition, Disk

STEP = 1.0
"""Seconds by which clocks may drift apart between two looks; NTP slews by 0.5 ms a second at most."""
LOW_DISK = 16 * 1024 * 1024
"""Bytes that are little enough to say so: a log is rotated at 10 MiB."""
NEARLY = 0.9
"""The part of a limit from which on it is nearly reached."""


def happened(before: Condition, now: Condition) -> list[str]:
    """Say what befell the clocks between two looks."""
    said = []
    slept = (now.boot - before.boot) - (now.awake - before.awake)
    if slept > STEP:
        said.append(f"the machine slept for {slept:.0f} s; deadlines and limits did not run meanwhile")
    stepped = (now.wall - before.wall) - (now.boot - before.boot)
    if abs(stepped) > STEP:
        direction = "forward" if stepped > 0 else "back"
        said.append(f"the clock was set {direction} by {abs(stepped):.0f} s; times in logs jump, limits do not")
    return said


def troubles(now: Condition) -> dict[str, str]:
    """Return what is wrong, each with a name by which it is known again while its figures change."""
    found = {f"disk of {folder}": text for folder, disk in now.disks.items() if (text := _disk(folder, disk))}
    for path, why in now.unwritten.items():
        found[f"writing {path}"] = f"{path} cannot be written ({why}): lines are lost"
    if now.most_descriptors and now.descriptors >= NEARLY * now.most_descriptors:
        found["descriptors"] = (
            f"{now.descriptors} of {now.most_descriptors} descriptors of the daemon are open: connections may wait;"
            " LimitNOFILE= of the unit or `ulimit -n` before `svcd up` sets the limit"
        )
    if now.most_tasks and now.tasks >= NEARLY * now.most_tasks:
        found["tasks"] = (
            f"{now.tasks} of {now.most_tasks} processes and threads run: new ones may fail to start;"
            " TasksMax= of the unit, or pids.max of the control group, sets the limit"
        )
    return found


def starvation(waits: Mapping[str, float]) -> dict[str, str]:
    """Say which replicas wait for a processor, by the seconds that each waited at a time; as `troubles` does."""
    if not waits:
        return {}
    worst = max(waits, key=lambda name: waits[name])
    others = f" and {len(waits) - 1} more" if len(waits) > 1 else ""
    return {
        "processors": f"{worst}{others} waited for a processor, {waits[worst]:.1f} s at a time: other programs take"
        " them, or a CPU limit does; replicas are slow then, and are not replaced for it"
    }


def _disk(folder: str, disk: Disk) -> str:
    if disk.free is None:
        return f"{folder} is gone"
    if disk.is_read_only:
        return f"{folder} can only be read"
    if disk.free < LOW_DISK:
        return f"the disk of {folder} has {about(disk.free)} left"
    return ""
