"""A caller's end of one replica: its channel, and what the caller knows of its load. Nothing here waits."""

from __future__ import annotations

from math import exp2, inf
from typing import TYPE_CHECKING

from svcd.worker.opening import opened

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping
    from typing import Any

    import trio

    from svcd.values.boot import Address
    from svcd_ipc.channel import Channel

FRESH = 0.1
"""Seconds for which a reported load counts; an older one says nothing about now."""
FIRST_BACKOFF = 0.002
LAST_BACKOFF = 0.05
"""Seconds between asking a busy replica again, doubled from first to last while it stays busy."""
GROWTH = 0.05
"""Calls by which the known capacity grows with each answer: under full load one call in twenty finds it full."""
PACE = 0.2
"""Weight of the newest call in the mean time of an api's calls."""
FORGET = 1.0
"""Seconds without a call in which a known pace halves, so that who was slow gets another chance."""
STALE = 10.0
"""Seconds without a call after which a pace is no measure for others."""
SLOWER = 2.0
"""How many times slower than the quickest a replica has to be to count as slower: below that it is chance."""
COLD = 0.0002
"""Seconds by which it has to be slower besides. A call to one that is in no cache takes 0.1 to 0.2 ms longer, so that
for less there is nothing to be had elsewhere; and calls of tens of microseconds vary by that with what else runs."""


def times_slower(pace: float, quickest: float) -> float:
    """Return how many times slower than the quickest a replica is; 1.0 where that is chance, or not known."""
    return pace / quickest if quickest > 0 and pace >= SLOWER * quickest and pace - quickest >= COLD else 1.0


class ReplicaEnd:
    """One listed replica of a route.

    `capacity` is unknown until the replica refuses a call: what it ran at that moment is all that it takes.
    """

    def __init__(self, id: str, address: Address) -> None:  # noqa: A002  (the word of the routes message)
        self.id = id
        self.address = address
        self.channel: Channel | None = None
        self.in_flight = 0
        """Calls of this caller that are on their way or running."""
        self.capacity = inf
        self.retry_at = 0.0
        """When it may be asked again after it was busy or could not be reached."""
        self.turn = 0
        """When it was last chosen, counted in the choices of its route."""
        self.place = 0
        """Where it stands among the idle ones of its route, the least first; below 0 once its last turn came off."""
        self.listed = True
        """Whether the daemon still names it."""
        self._backoff = FIRST_BACKOFF
        self._load_at = -inf
        self._sent = 0
        self._paces: dict[str, tuple[float, float, bool]] = {}
        """By api: mean seconds of a call of late, when that was, and whether there was more than one."""
        self.opening: trio.Event | None = None
        """Set when the one who connects is done with it, well or not."""

    def __repr__(self) -> str:
        return f"<ReplicaEnd {self.id} [{self.in_flight} in flight{'' if self.listed else ', unlisted'}]>"

    @property
    def path(self) -> str:
        """Path of its socket."""
        return self.address.path

    @property
    def is_gone(self) -> bool:
        """Whether there is no connection to it."""
        return self.channel is None or self.channel.has_ended

    def load(self, now: float) -> int:
        """Return how many calls it probably has now, those of other callers included."""
        if now - self._load_at > FRESH or self.channel is None:
            return self.in_flight
        return max(self.in_flight, sum(self.channel.peer_load) + self._sent)

    def took(self, api: str, seconds: float, now: float) -> float:
        """Note how long a call took, waiting there included; return how long one takes on average of late.

        A single call that takes longer counts as twice the mean at most: that something came between says little. A
        second one that takes less counts in the place of the first, which is mostly the one that warmed the api up.
        """
        known = self._paces.get(api)
        if known is None:
            self._paces[api] = seconds, now, False
            return seconds
        mean, _, has_mean = known
        mean = mean + PACE * min(seconds - mean, mean) if has_mean or seconds > mean else seconds
        self._paces[api] = mean, now, True
        return mean

    def pace(self, api: str, now: float) -> float:
        """Return how long a call of an api probably takes; 0 where nothing is known."""
        known = self._paces.get(api)
        return 0.0 if known is None else known[0] * exp2((known[1] - now) / FORGET)

    def measured(self, api: str, now: float) -> float:
        """Return how long calls of an api took of late; 0 where there were none for a while."""
        known = self._paces.get(api)
        return 0.0 if known is None or now - known[1] > STALE else known[0]

    def take_if_open(self, now: float) -> bool:
        """Count a call that is about to be sent, if it would probably be taken."""
        if (
            now < self.retry_at
            or (self.channel is not None and self.channel.draining)
            or (self.capacity != inf and self.load(now) + 1 > self.capacity)
        ):
            return False
        self.in_flight += 1
        self._sent += 1
        return True

    def is_open(self, now: float) -> bool:
        """Whether it would probably take a call."""
        if now < self.retry_at or (self.channel is not None and self.channel.draining):
            return False
        return self.capacity == inf or self.load(now) + 1 <= self.capacity

    def may_be_probed(self, now: float) -> bool:
        """Whether one call should be sent to see if its reported load is still true."""
        if (
            now < self.retry_at
            or self.in_flight + 1 > self.capacity
            or (self.channel is not None and self.channel.draining)
        ):
            return False
        self.retry_at = now + self._backoff
        return True

    def next_probe(self, now: float) -> float:
        """Return in how many seconds to look at it again."""
        return max(self.retry_at - now, self._backoff)

    def take(self) -> None:
        """Count a call that is about to be sent."""
        self.in_flight += 1
        self._sent += 1

    def give_back(self, now: float) -> None:
        """Count a call that is over, and believe the load that came with its answer."""
        self.in_flight -= 1
        if self.channel is not None:
            self._load_at = now
            self._sent = 0
            if not self.listed and not self.in_flight:
                self.channel.close()

    def answered(self) -> None:
        """Note that it took a call."""
        self._backoff = FIRST_BACKOFF
        self.retry_at = 0.0
        self.capacity += GROWTH  # what it refused at may have been less than it takes: it was draining, or stalled

    def refused(self, load: tuple[int, int], now: float) -> None:
        """Note that it was busy: it is not asked again before one of its calls ends or a while has passed."""
        self.capacity = float(max(1, sum(load)))
        self.retry_at = now + self._backoff
        self._backoff = min(2 * self._backoff, LAST_BACKOFF)

    def unlist(self) -> None:
        """Take no more calls to it; its connection ends with the last one in flight."""
        self.listed = False
        if not self.in_flight and self.channel is not None:
            self.channel.close()

    def open(self, nursery: trio.Nursery, identity: Mapping[str, Any], now: float) -> Coroutine[Any, Any, Channel]:
        """Await this for the channel, connecting first where there is none. Raises ServiceUnavailable."""
        return opened(self, nursery, identity, now)
