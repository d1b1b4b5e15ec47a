"""The pipeline example: it answers without GPUs and with them, and shows who said what."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import svcd
from running import SVCD, RunningApp
from svcd.host.processes import environment_of

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).resolve().parents[3] / "examples" / "pipeline"
ANY_PORT = ("--set", "app.http=127.0.0.1:0")
RECIPE = "Simmer on low heat with <b>salt</b> &amp; butter"


def config(*args: str) -> str:
    done = subprocess.run([*SVCD, "config", *args], cwd=FOLDER, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture(scope="module")
def laptop() -> Any:
    with RunningApp(FOLDER, options=(*ANY_PORT, "--profile", "laptop")) as app:
        yield app.up()


def test_it_answers_without_a_gpu(laptop: RunningApp) -> None:
    assert laptop.post("classify", {"text": RECIPE}) == (200, {"topic": "cooking"})
    assert laptop.post("classify", {"text": "a cold team in the second half"}) == (200, {"topic": "sport"})
    assert laptop.post("classify", {"text": "nothing of it"}) == (200, {"topic": "unknown"})
    rows = [f"{row['service']}/{row['replica']}" for row in laptop.rows()]
    assert sorted(rows) == ["Inference/0", "Pipeline/0", "Postprocess/0", "Preprocess/0", "Preprocess/1", "ingress/0"]


def test_each_service_has_its_own_keys_flags_and_paths_and_no_others(laptop: RunningApp) -> None:
    _, told = laptop.post("about")
    assert {service: sorted(given) for service, given in told.items()} == {
        "Preprocess": ["BLOCKLIST_API_KEY", "FEATURE_STRIP_HTML", "devices"],
        "Inference": ["FEATURE_BIGRAMS", "MODEL_PATH", "MODEL_ROOT", "REGISTRY_API_KEY", "devices"],
        "Postprocess": ["AUDIT_API_KEY", "FEATURE_ALL_SCORES", "devices"],
        "Pipeline": ["devices"],
    }
    assert told["Inference"]["MODEL_PATH"] == "models/topics.json"
    readme = (FOLDER / "README.md").read_text()
    assert json.dumps(told["Preprocess"], separators=(",", ":")) in readme


def test_inference_has_gpus_of_its_own(fake_box: Callable[[str], dict[str, str]]) -> None:
    smaller = ("--set", "services.Inference.resources.memory=256Mi")  # the box is fake, the memory is not
    two = ("--set", "services.Inference.scaling.min_replicas=2")
    with RunningApp(FOLDER, env=fake_box("[[gpu]]\n" * 3), options=(*ANY_PORT, *smaller, *two)) as app:
        app.up().all_up()
        rows = {f"{row['service']}/{row['replica']}": row for row in app.rows()}
        given = [rows[f"Inference/{index}"]["gpus"] for index in (0, 1)]
        assert [len(gpus) for gpus in given] == [1, 1]
        assert given[0] != given[1]
        assert environment_of(rows["Inference/1"]["pid"], "CUDA_VISIBLE_DEVICES") == given[1][0]
        assert not any(row["gpus"] for name, row in rows.items() if not name.startswith("Inference"))
        assert app.post("classify", {"text": RECIPE}) == (200, {"topic": "cooking"})


def test_what_is_in_force_is_what_the_operator_says() -> None:
    services = json.loads(config("--json"))["services"]
    assert services["Preprocess"]["scaling"] == {"min_replicas": 2, "max_replicas": 2, "down_after": "1m"}
    assert services["Inference"]["scaling"] == {"min_replicas": 1, "max_replicas": 10, "down_after": "1m"}
    assert services["Inference"]["resources"] == {"gpu": 1, "memory": "16Gi"}
    assert services["Inference"]["traffic"]["timeout"] == "5s"  # the developer's word: the operator is silent
    assert services["Postprocess"]["resources"] == {"gpu": 0}


def test_the_readme_shows_what_svcd_config_shows() -> None:
    readme = (FOLDER / "README.md").read_text()
    ((keys, shown),) = re.findall(r"\$ svcd config --explain (.*)\n((?:.+\n)+)```", readme)
    assert shown == config("--explain", *keys.split())


def test_no_key_is_shown() -> None:
    shown = config() + config("--explain") + config("--json")
    assert "demo-" not in shown


def test_a_flag_overrules_the_operator() -> None:
    key = "services.Inference.scaling.max_replicas"
    (row,) = json.loads(config("--explain", "--json", key, "--set", f"{key}=3"))
    assert [(said["value"], said["layer"]) for said in row["layers"]] == [(2, "decorator"), (10, "file"), (3, "--set")]


def test_it_runs_in_one_process_too(enter_example: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(enter_example("pipeline"))
    for name, value in {
        "FEATURE_STRIP_HTML": "on",
        "FEATURE_BIGRAMS": "on",
        "MODEL_PATH": "models/topics.json",
    }.items():
        monkeypatch.setenv(name, value)  # in one process there is one environment
    with svcd.local("service:Pipeline") as app:
        assert app.classify(text=RECIPE) == {"topic": "cooking"}
