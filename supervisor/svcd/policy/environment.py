"""Which environment a replica starts with: an allow-list of the host's, then the service's own, then svcd's.

Pure: the host's environment is an argument and nothing is read from the machine. What is named neither here nor by the
service does not reach it, so that neither the daemon's variables (`NOTIFY_SOCKET`, `LISTEN_*`, `CREDENTIALS_DIRECTORY`)
nor another service's, nor `PYTHONPATH`, `LD_LIBRARY_PATH` or a stray `CUDA_*` of the shell can leak.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from svcd.values.secrets import looks_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from svcd.values.specs import ServiceSpec

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy")

ALLOWED = frozenset(
    {
        *("PATH", "HOME", "LANG", "TZ", "TMPDIR", "XDG_CACHE_HOME", "HF_HOME"),
        # Both spellings are in use: curl and many libraries read only the lower one of http_proxy.
        *_PROXIES,
        *(name.upper() for name in _PROXIES),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    }
)
"""Variables of the host that every service gets when they are set there; `LC_*` are allowed besides."""


def is_allowed(name: str) -> bool:
    """Whether a host variable of this name reaches every service."""
    return name in ALLOWED or name.startswith("LC_")


def build(
    spec_envs: Mapping[str, str | None],
    host: Mapping[str, str],
    *,
    extra: Mapping[str, str],
    usual: Mapping[str, str | None] = MappingProxyType({}),
) -> dict[str, str]:
    """Return a replica's whole environment.

    `usual` is what follows from how the replica is run (whose home it has, how many threads fit its CPUs); the
    service's own variables win over it. A variable of `spec_envs` that is None is taken away, the host's included.
    `extra` is svcd's own (such as `CUDA_VISIBLE_DEVICES`) and always wins: it states what was placed, and a service
    that could overrule it would use devices that were given to another. (Configuration refuses `envs` that try, so
    nobody is overruled in silence.)
    """
    environment: dict[str, str | None] = {name: value for name, value in host.items() if is_allowed(name)}
    environment.update(usual)
    environment.update(spec_envs)
    environment.update(extra)
    return {name: value for name, value in environment.items() if value is not None}


def secret_names(environment: Mapping[str, str], spec: ServiceSpec) -> set[str]:
    """Return the variables of a replica's environment whose values are not to be shown.

    Of the service's own its configuration knows which; the host's may be so too, such as a proxy with a password.
    """
    lent = {name for name, value in environment.items() if name not in spec.envs and looks_secret(name, value)}
    return lent | (environment.keys() & set(spec.secret_envs))
