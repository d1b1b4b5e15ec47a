"""A steady stream of HTTP requests from several clients, each answer noted with its times."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from running import PATIENCE, wait_until

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got for one request."""

    asked: float
    answered: float
    status: int
    """0: the connection ended without an answer."""
    body: Any

    @property
    def code(self) -> str | None:
        """The error's code."""
        return self.body["error"]["code"] if isinstance(self.body, dict) and "error" in self.body else None


class SteadyStream:
    """As a context: clients that ask one request after the other until the end."""

    def __init__(self, url: str, api: str, *, clients: int = 8) -> None:
        address = urlsplit(url)
        self._host, self._port, self._api = address.hostname or "", address.port, api
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask_on) for _ in range(clients)]
        self.answers: list[Answer] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self.wait_for(len(self._threads) * 5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in self._threads), "a request hangs"

    def asked_after(self, instant: float, status: int = 200) -> list[Answer]:
        """Answers of this status to requests that were sent after an instant, in the order of the answers."""
        return [answer for answer in list(self.answers) if answer.asked > instant and answer.status == status]

    def wait_for(self, count: int, *, after: float = 0.0) -> list[Answer]:
        """Wait for so many good answers to requests that were sent after an instant."""
        wait_until(lambda: len(self.asked_after(after)) >= count, f"{count} good answers")
        return self.asked_after(after)

    def _ask_on(self) -> None:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PATIENCE)
        while not self._ending.is_set():
            asked = time.monotonic()
            try:
                connection.request("POST", f"/{self._api}", b'{"x": 1}', {"Content-Type": "application/json"})
                answer = connection.getresponse()
                status, body = answer.status, json.loads(answer.read())
            except (OSError, http.client.HTTPException):
                status, body = 0, None
                connection.close()
            self.answers.append(Answer(asked, time.monotonic(), status, body))
        connection.close()
