"""The whole app in one process: no server, no ports. Run it with pytest."""

from __future__ import annotations

import svcd
from service import Ensemble, Marks


def test_both_models_have_a_say() -> None:
    with svcd.local(Ensemble) as app:
        assert app.judge(text="good!") == {"words": 0.7, "marks": 0.6, "together": 0.675}


@svcd.service
class Undecided:
    @svcd.api
    async def judge(self, text: str) -> float:
        return 0.5


def test_one_model_alone() -> None:
    with svcd.local(Ensemble, replace={Marks: Undecided}) as app:
        assert app.judge(text="bad!")["marks"] == 0.5
