"""What a browser is told about pages of other origins."""

from __future__ import annotations

from svcd.ingress.cors import CorsPolicy
from svcd.values.specs import Cors

PAGE, STRANGER = b"https://page.example", b"https://stranger.example"


def test_without_origins_nothing_is_said() -> None:
    policy = CorsPolicy(Cors())
    assert not policy
    assert policy.headers(PAGE) == ()


def test_a_named_origin_is_allowed_and_a_stranger_is_not() -> None:
    policy = CorsPolicy(Cors(origins=(PAGE.decode(),), expose=("x-one", "x-two")))
    assert policy.headers(PAGE) == (
        (b"vary", b"origin"),
        (b"access-control-allow-origin", PAGE),
        (b"access-control-expose-headers", b"x-one, x-two"),
    )
    assert policy.headers(STRANGER) == policy.headers(b"") == ((b"vary", b"origin"),)
    assert [name for name, _ in policy.preflight(STRANGER, b"x-any")] == [b"vary"]


def test_any_origin_is_one_answer_for_all() -> None:
    policy = CorsPolicy(Cors(origins=("*",), expose=()))
    assert policy.headers(PAGE) == ((b"access-control-allow-origin", b"*"),)


def test_credentials_name_the_origin() -> None:
    policy = CorsPolicy(Cors(origins=(PAGE.decode(),), credentials=True, expose=()))
    assert dict(policy.headers(PAGE)) == {
        b"vary": b"origin",
        b"access-control-allow-origin": PAGE,
        b"access-control-allow-credentials": b"true",
    }


def test_a_preflight_is_told_methods_headers_and_how_long() -> None:
    policy = CorsPolicy(Cors(origins=("*",), methods=("POST", "PUT"), max_age=60.0))
    told = dict(policy.preflight(PAGE, b"content-type,x-mine"))
    assert told[b"access-control-allow-methods"] == b"POST, PUT"
    assert told[b"access-control-allow-headers"] == b"content-type,x-mine"
    assert told[b"access-control-max-age"] == b"60"
    assert b"access-control-allow-headers" not in dict(policy.preflight(PAGE, b""))
    named = CorsPolicy(Cors(origins=("*",), headers=("x-one",)))
    assert dict(named.preflight(PAGE, b"x-mine"))[b"access-control-allow-headers"] == b"x-one"
