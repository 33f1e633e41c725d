"""What providers of VAULT and IDENTITY share: sealed values, secrets of a worker, tokens."""

from __future__ import annotations

import base64
import json

import msgspec
import pytest

from kernel.errors import BadRequest
from kernel.toolkit.secrets.sealing import SEAL_OVERHEAD, Unopenable, open_value, seal_value
from kernel.toolkit.secrets.tokens import MAX_TOKEN, TokenSigner
from kernel.toolkit.secrets.vaults import (
    RevealedSecrets,
    check_room_for_secret,
    missing_secret,
    secret_path,
)

KEY = bytes(range(32))
OTHER_KEY = bytes(range(1, 33))


class Claims(msgspec.Struct):
    sub: str


def test_a_sealed_value_opens_in_its_place_by_its_key_only() -> None:
    sealed = seal_value(KEY, b"tea", [b"app", b"crm"])
    assert open_value(KEY, sealed, [b"app", b"crm"]) == b"tea"
    assert len(sealed) == len(b"tea") + SEAL_OVERHEAD
    assert seal_value(KEY, b"tea", [b"app", b"crm"]) != sealed
    for key, content, place in (
        (OTHER_KEY, sealed, [b"app", b"crm"]),
        (KEY, sealed, [b"appc", b"rm"]),
        (KEY, sealed[:-1], [b"app", b"crm"]),
        (KEY, b"", [b"app", b"crm"]),
    ):
        with pytest.raises(Unopenable):
            open_value(key, content, place)


def test_a_secret_of_the_app_replaces_a_broken_one_of_the_platform() -> None:
    revealed = RevealedSecrets()
    revealed.add_broken("TOKEN")
    revealed.add("TOKEN", "of the app")
    assert revealed.collect() == {"TOKEN": "of the app"}


def test_a_broken_secret_of_the_app_hides_that_of_the_platform() -> None:
    revealed = RevealedSecrets()
    revealed.add("TOKEN", "of the platform")
    revealed.add_broken("TOKEN")
    assert len(revealed) == 1
    assert revealed.collect(skip_broken=True) == {}
    with pytest.raises(BadRequest, match="set them again: TOKEN"):
        revealed.collect()


def test_a_scope_that_is_full_takes_changes_and_no_new_secret() -> None:
    names = [f"NAME_{number}" for number in range(1000)]
    check_room_for_secret(names, "NAME_5")
    with pytest.raises(BadRequest, match="there are 1000 secrets already"):
        check_room_for_secret(names, "ANOTHER")


def test_a_secret_is_named_by_its_scope() -> None:
    assert missing_secret(None, "TOKEN").message == "platform secret 'TOKEN' not found"
    assert missing_secret("crm", "TOKEN").message == "secret 'TOKEN' not found"
    assert secret_path(None, "TOKEN") == "TOKEN"
    assert secret_path("crm", "TOKEN") == "crm/TOKEN"


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("key_id", [None, "first"])
def test_a_token_opens_by_the_key_that_signed_it(key_id: str | None) -> None:
    signer = TokenSigner(KEY, key_id)
    token = signer.sign(Claims("ann"))
    assert msgspec.json.decode(signer.open(token), type=Claims).sub == "ann"
    with pytest.raises(ValueError, match="another key"):
        TokenSigner(OTHER_KEY, key_id).open(token)


def test_a_token_that_names_another_key_is_refused() -> None:
    token = TokenSigner(KEY, "first").sign(Claims("ann"))
    with pytest.raises(ValueError, match="another key"):
        TokenSigner(KEY, "second").open(token)
    assert TokenSigner(KEY, "second").open(TokenSigner(KEY).sign(Claims("ann")))


def test_what_is_no_token_of_ours_is_refused() -> None:
    signer = TokenSigner(KEY)
    head, claims, signature = signer.sign(Claims("ann")).split(".")
    last = "B" if signature[-1] != "B" else "C"
    for forged in (
        "",
        "a.b",
        f"{head}.{claims}.",
        f"{part({'alg': 'none', 'typ': 'JWT'})}.{claims}.{signature}",
        f"{part({'alg': 'HS256', 'typ': 'JWT', 'jku': 'x'})}.{claims}.{signature}",
        f"{head}.{part({'sub': 'root'})}.{signature}",
        f"{head}.{claims}.{signature[:-1]}{last}",
        f"{head}.{claims}.{signature}=",
        f"{head}.{'a' * MAX_TOKEN}.{signature}",
    ):
        with pytest.raises(ValueError, match=r"."):
            signer.open(forged)
