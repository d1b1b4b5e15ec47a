"""The ingress as one more service of the app, so that it is supervised like the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from svcd.values.specs import INGRESS, AppSpec, DependencySpec, Limits, Scaling, ServiceSpec

if TYPE_CHECKING:
    from collections.abc import Mapping


def with_ingress(app: AppSpec, host: str, port: int, *, python: str, version: str) -> AppSpec:
    """Return the app with the address that was bound and with its ingress, which depends on the entry."""
    entry = app.services[app.entry]
    ingress = ServiceSpec(
        name=INGRESS,
        target="svcd.ingress",
        python=python,
        version=version,
        scaling=Scaling(min_replicas=app.http.replicas, max_replicas=app.http.replicas),
        # Its calls end with the entry's; give it as long to finish them.
        limits=Limits(drain=entry.limits.drain),
        dependencies=(DependencySpec(name="entry", service=app.entry),),
    )
    services: Mapping[str, ServiceSpec] = {INGRESS: ingress, **app.services}
    return replace(app, http=replace(app.http, host=host, port=port), services=services)
