"""The class in this process, with a real program behind it: `replace` gives the URL. Run it with pytest."""

from __future__ import annotations

import threading

import model
import svcd
from service import Judge


def test_it_asks_the_model(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    model.fetch()
    with model.server(0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with svcd.local(Judge, replace={"Model": f"http://127.0.0.1:{server.server_port}"}) as app:
            assert app.judge(text="I love it") == "positive"
            assert app.judge(text="slow and bad") == "negative"
        server.shutdown()
        thread.join()
