"""Orders and events travel whole, and their form changes only together with the version of the link."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from typing import get_args

import msgpack
import pytest

from svcd.values import orders
from svcd.values.orders import LINK_VERSION, Event, News, Order, pack, unpack

KINDS = sorted({*get_args(Order), *get_args(News), *get_args(Event)} - {News}, key=lambda kind: kind.__name__)
FORMS = {1: "baccdad701cd68d7"}
"""By version: a digest of the names and the types of all fields. That of a version that was released stays."""


def test_a_change_of_form_is_a_new_version() -> None:
    """A keeper of the old version is still there when the new daemon comes: note the digest under a new version."""
    forms = [f"{kind.__name__} " + " ".join(f"{each.name}:{each.type}" for each in fields(kind)) for kind in KINDS]
    text = "\n".join(forms)
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == FORMS[LINK_VERSION]


@pytest.mark.parametrize("kind", KINDS)
def test_each_travels(kind: type[Order | Event]) -> None:
    values = {"int": 1, "float": 0.5, "str": "a", "bool": True, "bytes": b"\xff", "int | None": None}
    given = {each.name: values.get(str(each.type), [] if "list" in str(each.type) else {}) for each in fields(kind)}
    made = kind(**given)
    assert unpack(msgpack.unpackb(msgpack.packb(pack(made)))) == made


def test_a_greeting_keeps_its_form_for_ever() -> None:
    """Any version reads the first of these, and so knows whom it has before it."""
    assert pack(orders.Greeting(7, "1.2.3", 99)) == ["Greeting", 7, "1.2.3", 99]
