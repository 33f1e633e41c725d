"""The data of a sign-in."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, field


class Metadata(Struct, frozen=True, kw_only=True):
    """The metadata of a provider (OpenID Connect Discovery 1.0, section 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    authorization_response_iss_parameter_supported: bool = False


class Attempt(Struct, frozen=True, kw_only=True):
    """A sign-in in progress; see `attempts.py`."""

    state: str
    nonce: str
    verifier: str
    return_to: str
    challenge: str
    expires: float


class Subject(Struct, frozen=True, kw_only=True):
    """A user of the provider; `email` only if the provider has verified it."""

    issuer: str
    subject: str
    username: str
    email: str | None
    display_name: str | None
    values: frozenset[str]


class Handover(Struct, frozen=True, kw_only=True):
    """Body of an exchange; the SHA-256 of `verifier` is the challenge."""

    code: str
    verifier: str


class Entry(Struct, frozen=True, kw_only=True):
    """Query of a login; a page sends both."""

    return_to: str = ""
    challenge: str = ""


class Callback(Struct, frozen=True, kw_only=True):
    """Query of a callback, as the provider writes it."""

    state: str = ""
    code: str = ""
    iss: str = ""
    error: str = ""


class Granted(Struct, frozen=True):
    """A role that a claim gave."""

    app_id: str
    role: str


class SignedIn(Struct, frozen=True, kw_only=True, rename="camel"):
    """Reply to a finished sign-in, the one of a login; `expires_in` in seconds."""

    access_token: str
    refresh_token: str
    expires_in: int
    user: dict[str, Any] = field(default_factory=dict[str, Any])


class Tokens(Struct, frozen=True, kw_only=True):
    """The reply of the token endpoint, as far as it is used."""

    id_token: str
    access_token: str = ""


Claims = dict[str, Any]


def subject_of(claims: Claims, username_claim: str, roles_claim: str) -> Subject:
    """Read the claims of an ID token, with those of the userinfo endpoint."""
    email = None
    if claims.get("email_verified") is True:
        claimed_email = claims.get("email")
        if isinstance(claimed_email, str) and "@" in claimed_email:
            email = claimed_email
    usernames = (claims.get(username_claim), email, claims["sub"])
    display_name = claims.get("name")
    if not isinstance(display_name, str):
        display_name = None
    return Subject(
        issuer=claims["iss"],
        subject=claims["sub"],
        username=next(name for name in usernames if isinstance(name, str) and name),
        email=email,
        display_name=display_name,
        values=_read_texts(claims.get(roles_claim)),
    )


def _read_texts(value: object) -> frozenset[str]:
    if not value:
        return frozenset()
    try:
        return frozenset(msgspec.convert(value, list[str] | str))
    except msgspec.ValidationError:
        return frozenset()
