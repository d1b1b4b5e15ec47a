"""An app under `svcd up` with `spin`: who waits for a lone call's answer looks for it before its process sleeps."""

from __future__ import annotations

from contenders import app


class Session(app.Session):
    """As without, but for the option."""

    options = ("--set", "app.spin=100us")
