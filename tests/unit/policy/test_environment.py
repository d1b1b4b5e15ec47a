"""A replica's environment: what reaches it, what never does, and who wins."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from svcd.policy.environment import build, is_allowed, secret_names
from svcd.values.specs import ServiceSpec

NAMES = st.sampled_from(["PATH", "HOME", "LC_ALL", "PYTHONPATH", "CUDA_VISIBLE_DEVICES", "MODEL", "TOKEN", "SVCD_X"])
VARIABLES = st.dictionaries(NAMES, st.text(max_size=3))
OWN = st.dictionaries(NAMES, st.none() | st.text(max_size=3))


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME"),
        *("http_proxy", "HTTPS_PROXY", "no_proxy", "ALL_PROXY"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
    ],
)
def test_the_host_lends(name: str):
    assert build({}, {name: "x"}, extra={}) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        *("NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "CREDENTIALS_DIRECTORY", "INVOCATION_ID"),
        *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "JOURNAL_STREAM"),
        *("LD_LIBRARY_PATH", "LD_LIBRARY_PATH_ORIG", "LD_PRELOAD", "_MEIPASS2"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "CUDA_MPS_PIPE_DIRECTORY", "NVIDIA_VISIBLE_DEVICES"),
        *("SVCD__SERVICES__X__THREADS", "SVCD_RUNTIME_DIR"),
        *("AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "SSH_AUTH_SOCK", "LC", "path"),
    ],
)
def test_the_host_keeps(name: str):
    assert build({}, {name: "x", "PATH": "/bin"}, extra={}) == {"PATH": "/bin"}


def test_the_service_overrules_the_host_and_svcd_overrules_both():
    host = {"PATH": "/bin", "LANG": "C"}
    own = {"PATH": "/opt/bin", "MODEL": "m", "CUDA_VISIBLE_DEVICES": "0"}
    assert build(own, host, extra={"CUDA_VISIBLE_DEVICES": "GPU-1"}) == {
        "PATH": "/opt/bin",
        "LANG": "C",
        "MODEL": "m",
        "CUDA_VISIBLE_DEVICES": "GPU-1",
    }


def test_a_service_may_name_what_the_host_does_not_lend():
    assert build({"PYTHONPATH": "/models"}, {"PYTHONPATH": "/daemon"}, extra={}) == {"PYTHONPATH": "/models"}


def test_none_takes_away():
    assert build({"HOME": None, "NEVER": None}, {"HOME": "/root", "PATH": "/bin"}, extra={}) == {"PATH": "/bin"}


def test_an_empty_value_is_a_value():
    assert build({"A": ""}, {"TZ": ""}, extra={"CUDA_VISIBLE_DEVICES": ""}) == {
        "A": "",
        "TZ": "",
        "CUDA_VISIBLE_DEVICES": "",
    }


@settings(deadline=None)  # the machine may be busy
@given(OWN, VARIABLES, VARIABLES)
def test_every_variable_comes_from_somewhere(own: dict[str, str | None], host: dict[str, str], extra: dict[str, str]):
    built = build(own, host, extra=extra)
    for name in {*own, *host, *extra, *built}:
        lent = host.get(name) if is_allowed(name) else None
        expected = {**own, **extra}.get(name, lent)
        assert built.get(name) == expected


def test_reads_nothing_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LC_SVCD_TEST", "x")
    assert "LC_SVCD_TEST" in os.environ
    assert build({}, {}, extra={}) == {}


def test_which_names_are_not_to_be_shown():
    """Of the service's own those that its configuration says; of the host's those that look like it."""
    spec = ServiceSpec(
        name="Model",
        target="service:Model",
        python="/python",
        envs={"PLAIN": "x", "SHOWN_KEY": "x", "HIDDEN": "x", "GONE": None},
        secret_envs=("HIDDEN", "GONE"),
    )
    host = {"PATH": "/bin", "HTTPS_PROXY": "http://user:pw@proxy", "HTTP_PROXY": "http://proxy"}
    assert secret_names(build(spec.envs, host, extra={"SVCD_APP": "app"}), spec) == {"HIDDEN", "HTTPS_PROXY"}
