"""The whole app in one process: no server, no ports. Run it with pytest."""

from __future__ import annotations

import svcd
from service import Report


def test_a_short_text() -> None:
    with svcd.local(Report) as app:
        assert app.read(text="to be or not") == {"grade": 2.2, "seconds": 1.0}


def test_no_text_at_all() -> None:
    with svcd.local(Report) as app:
        assert app.read(text="") == {"grade": 0.0, "seconds": 0.0}
