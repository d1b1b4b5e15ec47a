"""The digits example in one process and as its readers run it: what it was not trained on, it reads right."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

import svcd
from many_clients import ask_together
from running import RunningApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
ANY_PORT = ("--set", "app.http=127.0.0.1:0")


@pytest.fixture(scope="module")
def folder(enter_example: Callable[[str], Path]) -> Path:
    # Here, and not where all modules are collected: these take longer to import than all else together.
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    return enter_example("digits")


@pytest.fixture(scope="module")
def digits(folder: Path) -> Iterator[RunningApp]:
    with RunningApp(folder, options=ANY_PORT) as app:
        yield app.up().all_up()


@pytest.fixture(scope="module")
def app(folder: Path) -> Any:
    with svcd.local("service:Digits") as app:
        yield app


def test_at_least_95_percent_of_the_held_out_digits_are_right(app: Any, folder: Path) -> None:
    pictures = sorted((folder / "held_out").glob("*.png"))
    wrong = [path.name for path in pictures if app.classify(image=path.read_bytes()).digit != int(path.stem[-1])]
    assert len(pictures) == 360
    assert 1 - len(wrong) / len(pictures) >= 0.95, wrong


def test_a_verdict_has_probabilities(app: Any, folder: Path) -> None:
    verdict = app.classify(image=(folder / "held_out" / "0004_4.png").read_bytes())
    assert verdict.digit == 4
    assert verdict.unanimous is True
    assert len(verdict.probabilities) == 10
    assert verdict.probabilities[4] == max(verdict.probabilities)
    assert sum(verdict.probabilities) == pytest.approx(1, abs=0.001)


@pytest.mark.parametrize("body", [b"", b"no picture", b"\x89PNG\r\n\x1a\n and no more"])
def test_what_is_no_picture_is_refused(app: Any, body: bytes) -> None:
    with pytest.raises(svcd.InvalidArgument, match="not a picture"):
        app.classify(image=body)


def test_the_pictures_are_exactly_the_samples_that_training_leaves_out(folder: Path) -> None:
    import numpy as np
    from PIL import Image
    from samples import INK, split
    from sklearn import datasets

    digits, (train, held_out) = datasets.load_digits(), split()
    assert sorted([*train, *held_out]) == list(range(len(digits.target)))
    for row in held_out:
        with Image.open(folder / "held_out" / f"{row:04d}_{digits.target[row]}.png") as picture:
            assert (picture.mode, picture.size) == ("L", (8, 8))
            assert (np.rint(np.asarray(picture) * (INK / 255)) == digits.images[row]).all()
    assert len(list((folder / "held_out").iterdir())) == len(held_out)


def test_the_readme_speaks_of_files_that_are_there(folder: Path) -> None:
    for name in re.findall(r"@([\w./]+)", (folder / "README.md").read_text()):
        assert (folder / name).is_file()


def test_digits_reads_the_held_out_pictures_right(digits: RunningApp) -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "digits" / "check_held_out.py", urlsplit(digits.url).netloc],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of 360 held-out digits are right" in done.stdout


def test_digits_runs_every_service_in_its_own_process(digits: RunningApp) -> None:
    rows = digits.rows()
    assert sorted(f"{row['service']}/{row['replica']}" for row in rows) == sorted(
        ["Digits/0", "Forest/0", "Kernel/0", "Preprocess/0", "Preprocess/1", "Vote/0", "ingress/0"]
    )
    assert len({row["pid"] for row in rows}) == len(rows)


def test_digits_answers_200_clients_at_once_as_it_does_one_after_the_other(digits: RunningApp, app: Any) -> None:
    pictures = [path.read_bytes() for path in sorted((EXAMPLES / "digits" / "held_out").glob("*.png"))[:200]]
    expected = [vars(app.classify(image=picture)) for picture in pictures]
    assert ask_together(digits.url, [("classify", {"image": picture}) for picture in pictures]) == expected


COLOCATED = {
    "app.colocate": '[["Digits", "Preprocess", "Kernel", "Forest", "Vote"]]',
    # What members have to have alike.
    "services.Preprocess.scaling": "{min_replicas=1, max_replicas=1}",
    **{f"services.{name}.envs.OMP_NUM_THREADS": '"1"' for name in ("Digits", "Preprocess", "Vote")},
}


def test_digits_in_one_process_gives_the_same_answers(digits: RunningApp) -> None:
    sets = tuple(word for key, value in COLOCATED.items() for word in ("--set", f"{key}={value}"))
    pictures = [path.read_bytes() for path in sorted((EXAMPLES / "digits" / "held_out").glob("*.png"))[:40]]
    bodies = [*pictures, b"no picture"]
    with RunningApp(EXAMPLES / "digits", options=(*ANY_PORT, *sets)) as app:
        app.up()
        assert len({row["pid"] for row in app.rows()}) == 2  # the ingress and all others
        answers = [app.post("classify", body, "application/octet-stream") for body in bodies]
        jobs = [("classify", {"image": picture}) for picture in pictures * 5]
        assert ask_together(app.url, jobs) == [verdict for _, verdict in answers[:-1]] * 5
    assert answers == [digits.post("classify", body, "application/octet-stream") for body in bodies]
    assert {status for status, _ in answers} == {200, 400}


def test_digits_takes_a_picture_as_a_form_field(digits: RunningApp) -> None:
    picture = (EXAMPLES / "digits" / "held_out" / "0004_4.png").read_bytes()
    form = b'--x\r\ncontent-disposition: form-data; name="image"; filename="0004_4.png"\r\n\r\n'
    status, verdict = digits.post("classify", form + picture + b"\r\n--x--\r\n", "multipart/form-data; boundary=x")
    assert (status, verdict["digit"]) == (200, 4)
    assert digits.post("classify", picture, "image/png") == (200, verdict)


def test_digits_refuses_what_is_no_picture(digits: RunningApp) -> None:
    status, answer = digits.post("classify", b"no picture", "application/octet-stream")
    assert (status, answer["error"]["code"]) == (400, "invalid")
    assert answer["error"]["details"][0]["field"] == "image"


def test_digits_goes_on_after_half_a_request(digits: RunningApp) -> None:
    address = urlsplit(digits.url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    connection.putrequest("POST", "/classify")
    connection.putheader("content-length", "1000")
    connection.endheaders(b"half")
    connection.close()
    assert digits.get("/readyz") == (200, b"ready\n")
