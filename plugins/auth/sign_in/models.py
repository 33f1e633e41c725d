"""Bodies and replies of the second factor, and what is stored of it."""

from __future__ import annotations

from msgspec import Struct


class Code(Struct, frozen=True, kw_only=True):
    """Body that proves that an authenticator has the secret."""

    code: str


class Password(Struct, frozen=True, kw_only=True):
    """Body that proves that the caller knows its password."""

    password: str


class TotpSecret(Struct, frozen=True, kw_only=True):
    """A new secret in Base32, and the address of it that authenticators read as a QR code.

    `qr` is that code as rows of squares: `1` is a dark one. It is null for a very long name.
    """

    secret: str
    uri: str
    qr: list[str] | None


class RecoveryCodes(Struct, frozen=True, kw_only=True, rename="camel"):
    """Codes for a lost authenticator; they are shown once, and each works once."""

    recovery_codes: list[str]


class FactorState(Struct, frozen=True, kw_only=True, rename="camel"):
    """Whether an account has a second factor, and how many recovery codes are left."""

    enabled: bool
    recovery_codes: int


class Factor(Struct, frozen=True, kw_only=True):
    """The stored second factor of an account; `last_step` is that of the newest used code."""

    sealed: str
    confirmed: bool
    last_step: int


class Accepted(Struct, frozen=True):
    """A code that fits: the time step of a TOTP code, or the hash of a recovery code."""

    step: int = 0
    code_hash: str = ""
