"""What the app says of itself: valid by others' word, and true by experiment."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import openapi_spec_validator
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from running import RunningApp

EXAMPLES = 20
"""Requests per api and kind; `--max-examples 500` by hand for a long look."""


def test_the_document_is_openapi_by_a_public_validator(http: httpx.Client) -> None:
    document = http.get("/docs.json").json()
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)


def test_the_document_tells_of_every_api(http: httpx.Client) -> None:
    document = http.get("/docs.json").json()
    apis = {"/add", "/upper", "/size", "/first", "/pack", "/tokens", "/rows", "/keep"}
    assert set(document["paths"]) == apis | {f"/keep/{what}" for what in ("submit", "status", "get", "retry", "cancel")}
    add = document["paths"]["/add"]["post"]
    assert (add["summary"], add["operationId"]) == ("Add two numbers.", "add")
    assert set(add["responses"]) >= {"200", "400", "429", "500", "503", "504"}
    assert document["x-mounts"] == ["/web/small", "/web"]
    assert "application/octet-stream" in document["paths"]["/size"]["post"]["requestBody"]["content"]
    submit = document["paths"]["/keep/submit"]["post"]
    assert submit["requestBody"] == document["paths"]["/keep"]["post"]["requestBody"]
    assert set(submit["responses"]) >= {"202", "400", "429", "507"}
    assert "text/event-stream" in document["paths"]["/tokens"]["post"]["responses"]["200"]["content"]


@pytest.mark.timeout(180)
def test_schemathesis_finds_no_5xx_and_no_mismatch(everything: RunningApp, tmp_path: Path) -> None:
    options = ["--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES), "--seed", "8", "--no-color"]
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", f"{everything.url}/docs.json", *options],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # it leaves its notes there
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert "13 selected / 13 total" in done.stdout
    assert "error" not in everything.log("ingress")


def test_the_page_for_browsers_needs_no_other_host(http: httpx.Client) -> None:
    page = http.get("/", headers={"accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert http.get("/").headers["content-type"].startswith("text/plain")
    assert http.head("/", headers={"accept": "text/html"}).headers["content-length"] == str(len(page.content))
