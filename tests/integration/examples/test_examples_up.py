"""The examples as their readers run them: under `svcd up`, over HTTP."""

from __future__ import annotations

import http.client
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
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
def digits() -> Iterator[RunningApp]:
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    with RunningApp(EXAMPLES / "digits", options=ANY_PORT) as app:
        yield app.up()


def test_quickstart_answers() -> None:
    with RunningApp(EXAMPLES / "quickstart", options=ANY_PORT) as app:
        app.up()
        assert app.post("score", {"text": "I love it"}) == (200, {"score": 2.0, "love": 2.0})
        assert app.post("score", b"great", "text/plain") == (200, {"score": 2.0, "great": 2.0})
        status, answer = app.post("score", {"txt": "great"})
        assert (status, [detail["field"] for detail in answer["error"]["details"]]) == (400, ["text", "txt"])


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


def test_digits_answers_200_clients_at_once_as_it_does_one_after_the_other(
    digits: RunningApp, enter_example: Callable[[str], Path]
) -> None:
    pictures = [path.read_bytes() for path in sorted((EXAMPLES / "digits" / "held_out").glob("*.png"))[:200]]
    enter_example("digits")
    with svcd.local("service:Digits") as app:
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
