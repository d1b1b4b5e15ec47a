"""The whole app in one process: no server, no ports. Run it with pytest."""

from __future__ import annotations

import svcd
from service import Pipeline


def test_it_tells_praise_from_blame() -> None:
    with svcd.local(Pipeline) as app:
        assert app.run(text="I love it, it is great") == "positive"
        assert app.run(text="slow and bad") == "negative"
        assert app.run(text="") == "neutral"
