"""torch tensors between services: the same under `svcd.local`, in one process and across processes.

And the threads that torch runs in a replica with a CPU share.
"""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

import pytest

import svcd
from running import write_app

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import MakeApp

pytestmark = pytest.mark.torch

SERVICE = """
    from typing import Any

    import numpy as np
    import svcd
    import torch

    LARGE = 4_000_000
    SIZES = (0, 1, 20_000, 200_000, LARGE)  # in the text, attached, lent, copied on a thread

    @svcd.service
    class Other:
        @svcd.api
        async def add(self, x: torch.Tensor) -> torch.Tensor:
            x += 1
            return x

    @svcd.service(threads=2)
    class Model:
        other = svcd.depends(Other)

        @svcd.api
        async def add(self, x: torch.Tensor, y: Any = None) -> torch.Tensor:
            x += 1
            return x

        @svcd.api
        def nested(self, x: dict[str, list[torch.Tensor]]) -> dict[str, list[torch.Tensor]]:
            x["a"][0][:] = 0
            return {"b": [each.to(torch.bfloat16) for each in x["a"]]}

        @svcd.api
        async def forward(self, x: torch.Tensor) -> torch.Tensor:
            sent = await self.other.add(x=x)
            return torch.stack([x, sent])

        @svcd.api
        async def on_meta(self) -> Any:
            return [torch.ones(3, device="meta")]

        @svcd.api
        async def no_tensor(self) -> torch.Tensor:
            return [1.0]

        @svcd.api(batchable=True, max_batch_size=8)
        async def rows(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        @svcd.api
        def threads(self) -> int:
            return torch.get_num_threads()

    @svcd.service
    class Near(Model):
        pass

    @svcd.service
    class Entry:
        model = svcd.depends(Model)
        near = svcd.depends(Near)

        @svcd.api
        async def check(self, near: bool) -> list[Any]:
            model, told = self.near if near else self.model, []
            for size in SIZES:
                x = torch.zeros(size)
                one, two = await svcd.gather(model.add(x=x), model.add(x=x))
                one += 1
                told.append([x.sum().item(), one.sum().item(), two.sum().item()])
            strided = torch.arange(6.0, requires_grad=True).reshape(2, 3).t()
            arrived = await model.add(x=strided)
            told.append([arrived.tolist(), arrived.requires_grad])
            told.append((await model.add(x=torch.tensor(3))).item())
            told.append((await model.add(x=np.ones(2, "f4"))).tolist())
            told.append((await model.add(x=[1, 2])).tolist())
            kept = [torch.ones(2), torch.ones(3)]
            found = await model.to_async.nested(x={"a": kept})
            told.append([str(found["b"][0].dtype), found["b"][0].tolist(), found["b"][1].tolist(), kept[0].tolist()])
            told.append((await model.forward(x=torch.ones(LARGE // 4))).sum(1).tolist())
            told.append((await model.rows(x=torch.ones(2, 2))).tolist())
            bad = (
                (model.add, {"x": torch.ones(3, device="meta")}),
                (model.add, {"x": "text"}),
                (model.add, {"x": [1, "one"]}),
                (model.on_meta, {}),
                (model.no_tensor, {}),
            )
            for api, args in bad:
                try:
                    await api(**args)
                except Exception as error:
                    text = str(error).replace("Near.", "Model.").replace("Model/0", "Model")
                    told.append([type(error).__name__, text])
                else:
                    told.append("no error")
            return told

        @svcd.api
        async def twice(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * x

        @svcd.api
        async def threads(self) -> list[int]:
            return [torch.get_num_threads(), await self.model.to_async.threads()]
"""

LARGE = 4_000_000
ON_META = "a torch tensor on the device meta cannot travel; it has no data"
EXPECTED = [
    *([0.0, 2.0 * size, 1.0 * size] for size in (0, 1, 20_000, 200_000, LARGE)),
    [[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]], False],
    4,
    [2.0, 2.0],
    [2, 3],
    ["torch.bfloat16", [0.0, 0.0], [1.0, 1.0, 1.0], [1.0, 1.0]],
    [LARGE / 4, LARGE / 2],
    [[2.0, 2.0], [2.0, 2.0]],
    ["EncodeError", f"Model.add: args.x: {ON_META}"],
    ["InvalidArgument", "Model.add: x: Input should be a tensor, an array or nested lists, not str"],
    ["InvalidArgument", "Model.add: x: Input should be nested lists of numbers: new(): invalid data type 'str'"],
    ["BadResult", f"Model.on_meta returned what cannot travel: result[0]: {ON_META}"],
    ["BadResult", "Model.no_tensor returned a list, where its annotation says torch.Tensor"],
]


def test_tensors_under_up(make_app: MakeApp) -> None:
    """Model is apart, Near shares a process with its caller; torch takes the CPU share for its threads."""
    toml = """
        colocate = [["Entry", "Near"], ["Model", "Other"]]
        [services]
        Entry = { resources = { cpu = 1 } }
        Model = { resources = { cpu = 0.5 } }
    """
    app = make_app(SERVICE, toml, entry="Entry").up()
    assert app.post("check", {"near": False}) == (200, EXPECTED)
    assert app.post("check", {"near": True}) == (200, EXPECTED)
    assert app.post("threads", {}) == (200, [1, 1])  # one for each CPU of the machine elsewhere
    assert app.post("twice", {"x": [[1.5, 2], [3, 4]]}) == (200, [[3.0, 4.0], [6.0, 8.0]])
    status, body = app.post("twice", {"x": "text"})
    assert status == 400
    assert "Input should be a tensor" in str(body)


def test_tensors_in_a_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_app(tmp_path / "app", SERVICE, entry="Entry")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "service", raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, when it is imported
        import service  # type: ignore[import-not-found]  # written just now

    try:
        with svcd.local(service.Entry) as entry:
            assert entry.check(near=True) == EXPECTED
            assert entry.twice(x=[1.5]).tolist() == [3.0]
    finally:
        del sys.modules["service"]
