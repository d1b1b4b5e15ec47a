"""How often the GPUs are read: until nobody waits for what the driver could not tell, and ever more rarely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from svcd.runtime.gpus import LONGEST_PAUSE, keep_read
from svcd.runtime.ledger import Ledger
from svcd.runtime.replica import Replica
from svcd.values.inventory import Gpu, Inventory
from svcd.values.specs import Resources, ServiceSpec

if TYPE_CHECKING:
    from trio.testing import MockClock

SICK = Inventory(problem="the driver is sick")
WELL = Inventory(gpus=(Gpu(index=0, uuid="GPU-0", name="A100", memory_total=1, memory_used=0),))


class Driver:
    """Answers with what it is; counts the questions."""

    def __init__(self, inventory: Inventory, takes: float = 0.5) -> None:
        self.inventory = inventory
        self.takes = takes
        self.times: list[float] = []
        self.said: list[str] = []

    async def read(self) -> Inventory:
        await trio.sleep(self.takes)
        self.times.append(trio.current_time())
        return self.inventory


def waiting(ledger: Ledger, gpus: int = 1) -> Replica:
    spec = ServiceSpec(name="Model", target="m:Model", python="/python", resources=Resources(gpu=gpus))
    replica = Replica(spec, 0, _Deaf(), chance=lambda: 0.0)  # type: ignore[arg-type]  # only changes reach it
    ledger.request(replica)
    return replica


class _Deaf:
    def changed(self, replica: Replica, change: object) -> None:
        """Nobody listens."""


async def test_once_when_all_is_well(autojump_clock: MockClock) -> None:
    driver, ledger = Driver(WELL), Ledger()
    replica = waiting(ledger)
    await keep_read(ledger, driver.read, driver.said.append)
    assert replica.assignment is not None
    assert (len(driver.times), driver.said) == (1, [])
    assert replica.reason == ""


async def test_a_slow_driver_is_named_as_what_is_waited_for(autojump_clock: MockClock) -> None:
    driver, ledger = Driver(WELL, takes=5), Ledger()
    replica = waiting(ledger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_read, ledger, driver.read, driver.said.append)
        await trio.sleep(4)
        assert replica.reason == "needs 1 GPU; the driver has not said yet what there is"
    assert replica.assignment is not None


async def test_a_shortage_of_a_healthy_box_is_not_asked_about_again(autojump_clock: MockClock) -> None:
    driver, ledger = Driver(WELL), Ledger()
    replica = waiting(ledger, gpus=2)
    await keep_read(ledger, driver.read, driver.said.append)
    assert replica.reason == "needs 2 GPUs; this box has 1 in all"
    assert len(driver.times) == 1


async def test_a_sick_driver_is_asked_ever_more_rarely_and_named_once(autojump_clock: MockClock) -> None:
    driver, ledger = Driver(SICK), Ledger()
    replica = waiting(ledger)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_read, ledger, driver.read, driver.said.append)
        await trio.sleep(24 * 3600)
        assert len(driver.times) < 24 * 3600 / LONGEST_PAUSE + 12
        assert driver.times[1] - driver.times[0] < 2
        driver.inventory = WELL
    assert replica.assignment is not None
    assert driver.said == ["GPUs: the driver is sick", "GPUs: found 1"]


async def test_a_problem_that_keeps_nobody_waiting_is_left_alone(autojump_clock: MockClock) -> None:
    driver = Driver(Inventory(gpus=WELL.gpus, problem="GPU 1 is not used: GPU is lost"))
    await keep_read(Ledger(), driver.read, driver.said.append)
    assert driver.said == ["GPUs: GPU 1 is not used: GPU is lost"]
