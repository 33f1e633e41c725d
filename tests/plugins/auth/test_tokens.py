"""Nothing passes for a token but what this server signed, of the right kind, in its time."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel.public import MAX_TOKEN, Delegation, Unauthenticated
from plugins.auth.tokens import Tokens

KEY = bytes(range(32))
tokens = Tokens(KEY)
CLAIMS = {
    "sub": "3fa85f64-5717-4562-b3fc-2c963f66afa6",
    "username": "alice",
    "sid": "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    "iat": int(time.time()),
    # Longer than any run of the suite: this is read when the tests are collected.
    "exp": int(time.time()) + 24 * 3600,
    "iss": "caudex",
    "typ": "access",
}


def b64(raw):
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forge(header=None, claims=None, key=KEY, payload=None):
    head = b64(json.dumps(header or {"alg": "HS256", "typ": "JWT"}).encode())
    body = b64(payload if payload is not None else json.dumps(claims or CLAIMS).encode())
    mac = hmac.digest(key, f"{head}.{body}".encode(), hashlib.sha256)
    return f"{head}.{body}.{b64(mac)}"


def refused(token):
    with pytest.raises(Unauthenticated) as caught:
        tokens.read_access(token)
    return caught.value.message


def test_a_token_that_keeps_every_rule_is_read():
    assert tokens.read_access(forge()).username == "alice"
    assert tokens.read_access(tokens.access("u", "bob", "s")).username == "bob"
    assert tokens.read_refresh(tokens.refresh("u", "s", "j", 60)).jti == "j"


def test_lifetimes_and_claims_are_those_of_the_contract():
    access = json.loads(_payload(tokens.access("u", "bob", "s")))
    refresh = json.loads(_payload(tokens.refresh("u", "s", "j", 14 * 86_400)))
    assert set(access) == {"sub", "username", "sid", "iat", "exp", "iss", "typ"}
    assert set(refresh) == {"sub", "sid", "jti", "iat", "exp", "iss", "typ"}
    assert access["exp"] - access["iat"] == 900
    assert refresh["exp"] - refresh["iat"] == 14 * 24 * 3600


def test_a_token_of_a_worker_names_its_app():
    claims = {**CLAIMS, "sid": "", "aud": "app:crm"}
    delegation = tokens.read_access(forge(claims=claims)).delegation
    assert delegation == Delegation(
        app_id="crm", expires=CLAIMS["exp"], ends=CLAIMS["exp"], epoch="0"
    )
    claims = json.loads(_payload(tokens.delegated("u", "bob", delegation)))
    assert (claims["aud"], claims["sid"]) == ("app:crm", "")


@pytest.mark.parametrize(
    "claims", [{"sid": ""}, {"aud": "app:crm"}, {"sid": "", "aud": "crm"}, {"sid": "", "aud": ""}]
)
def test_a_token_is_for_a_session_or_for_the_worker_of_an_app(claims):
    with pytest.raises(Unauthenticated):
        tokens.read_access(forge(claims={**CLAIMS, **claims}))


def _payload(token):
    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.mark.parametrize(
    "alg", ["none", "None", "NONE", "nOnE", "HS384", "HS512", "RS256", "", None]
)
def test_another_algorithm_is_refused_even_with_a_good_signature(alg):
    refused(forge({"alg": alg, "typ": "JWT"}))


def test_an_unsigned_token_is_refused():
    head, body, _ = forge({"alg": "none"}).split(".")
    for token in (f"{head}.{body}.", f"{head}.{body}", f"{head}.{body}..", f"{head}.{body}.AAAA"):
        refused(token)


@pytest.mark.parametrize(
    "more",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"jwk": {"kty": "oct", "k": "AAAA"}},
        {"jku": "http://127.0.0.1/keys"},
        {"x5u": "http://127.0.0.1/cert"},
        {"b64": False},
        {"zip": "DEF"},
        {"kid": "../../dev/null"},
        {"kid": "00000000"},
        {"kid": ["a"]},
        {"typ": "at+jwt"},
    ],
)
def test_headers_that_steer_the_check_are_refused(more):
    refused(forge({"alg": "HS256", "typ": "JWT", **more}))


@pytest.mark.parametrize("key", [b"", b"secret", bytes(32), KEY[::-1]])
def test_another_key_is_refused(key):
    refused(forge(key=key))


def test_an_edited_payload_is_refused():
    head, _, mac = forge().split(".")
    refused(f"{head}.{b64(json.dumps(CLAIMS | {'sub': 'someone'}).encode())}.{mac}")


def test_the_two_kinds_do_not_pass_for_each_other():
    refused(tokens.refresh("u", "s", "j", 60))
    with pytest.raises(Unauthenticated):
        tokens.read_refresh(tokens.access("u", "bob", "s"))
    refused(forge(claims=CLAIMS | {"typ": "refresh", "jti": "j"}))


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "other"},
        {"iss": None},
        {"typ": "ACCESS"},
        {"sub": 1},
        {"sub": None},
        {"exp": "4102444800"},
        {"exp": 1e300},
        {"iat": None},
        {"sid": None},
        {"username": ["alice"]},
    ],
)
def test_every_claim_is_checked(change):
    refused(forge(claims=CLAIMS | change))


@pytest.mark.parametrize("claim", sorted(CLAIMS))
def test_every_claim_is_needed(claim):
    refused(forge(claims={name: value for name, value in CLAIMS.items() if name != claim}))


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b"\xff", b"{", b"[" * 3000])
def test_a_signed_payload_that_is_no_object_is_refused(payload):
    refused(forge(payload=payload))


def test_expiry_is_exact_and_the_future_begins_after_ten_seconds():
    now = int(time.time())
    assert "expired" in refused(forge(claims=CLAIMS | {"exp": now - 1}))
    assert tokens.read_access(forge(claims=CLAIMS | {"iat": now + 5}))
    refused(forge(claims=CLAIMS | {"iat": now + 30}))


def test_a_token_over_four_kilobytes_is_not_even_decoded():
    long = forge(claims=CLAIMS | {"username": "a" * MAX_TOKEN})
    assert len(long) > MAX_TOKEN
    refused(long)


@given(st.data())
def test_no_changed_character_goes_unnoticed(data):
    token = forge()
    at = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(st.characters(min_codepoint=1, max_codepoint=0x2FF))
    changed = token[:at] + put + token[at + 1 :]
    if changed != token:
        refused(changed)


@given(st.text())
def test_any_text_is_refused_and_never_an_error(text):
    refused(text)
    refused(f"{forge()}{text or ' '}")


def test_a_family_is_a_chain_that_only_the_key_can_follow():
    first = tokens.make_first_id()
    assert tokens.derive_successor_id(first) == tokens.derive_successor_id(first)
    assert tokens.derive_successor_id(first) != Tokens(KEY[::-1]).derive_successor_id(first)
    assert (
        len(
            {
                first,
                tokens.derive_successor_id(first),
                tokens.derive_successor_id(tokens.derive_successor_id(first)),
            }
        )
        == 3
    )
