"""Hypercorn on trio with a bare ASGI application, in one process: what the ingress is made of, nothing behind it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Self

from contenders import http_client
from contenders.servers import Server, free_port

if TYPE_CHECKING:
    from load import Order


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Read the body as JSON and answer with it."""
    if scope["type"] == "lifespan":
        for step in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{step}.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = json.dumps(json.loads(body)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def serve(port: str) -> None:
    """Serve until killed."""
    import trio
    from hypercorn.config import Config
    from hypercorn.trio import serve as run

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "ERROR"
    config.keep_alive_max_requests = sys.maxsize
    trio.run(run, echo, config)


class Session:
    """A server and a client in this process."""

    up: float

    def __enter__(self) -> Self:
        self._port = free_port()
        self._server = Server([sys.executable, "-m", "contenders.hypercorn_http", str(self._port)])
        self.up = self._server.until(lambda: http_client.is_serving(f"http://127.0.0.1:{self._port}/"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.__exit__(*exc)

    def measure(self, order: Order) -> dict[str, Any]:
        """Take `small`, with as many connections as calls in flight."""
        return http_client.measure(self._port, "/", order).plain()


if __name__ == "__main__":
    serve(sys.argv[1])
