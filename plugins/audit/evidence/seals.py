"""What a seal states, who signs it, and whether one follows another."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import Final, Literal, NamedTuple

import msgspec
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from kernel.public import BadRequest

FORM: Final = "caudex audit seal 1"
"""Which JSON of the rows is hashed; another one needs another form."""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """The statement that is signed.

    It vouches for the rows with ids above `after` and up to `last`: there are so many, with this
    root. Those before the time `kept_from` may be gone: retention dropped their months. `previous`
    is the SHA-256 of the statement before.
    """

    form: Literal["caudex audit seal 1"] = FORM
    seal: int
    at: str
    after: int
    last: int
    rows: int
    root: str
    entries: str
    begin: str | None
    end: str | None
    kept_from: str | None
    previous: str
    key: str


class SignedSeal(msgspec.Struct, frozen=True):
    """A statement as it was signed, byte by byte, and the signature."""

    statement: str
    signature: str

    def read(self) -> Seal:
        """Decode the statement. Raises msgspec.DecodeError, and ValidationError, which is one."""
        return msgspec.json.decode(self.statement, type=Seal)

    def hash(self) -> str:
        """Return the hash by which the next seal names it."""
        return sha256(self.statement.encode()).hexdigest()

    def is_signed_by(self, key: str) -> bool:
        """Whether the public key, as hexadecimal text, made the signature."""
        try:
            signature = bytes.fromhex(self.signature)
            VerifyKey(bytes.fromhex(key)).verify(self.statement.encode(), signature)
        except (BadSignatureError, ValueError):
            return False
        return True


class Link(NamedTuple):
    """A seal of the chain: as it was signed, and what it states."""

    signed: SignedSeal
    seal: Seal


class Signer:
    """Signs seals by the key that is not in the database."""

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.public = self._key.verify_key.encode().hex()

    def sign(self, seal: Seal) -> SignedSeal:
        """Sign a statement."""
        statement = msgspec.json.encode(seal)
        return SignedSeal(statement.decode(), self._key.sign(statement).signature.hex())


def read_link(signed: SignedSeal) -> Link | None:
    """Decode a seal; None where its statement is no JSON of one."""
    try:
        return Link(signed, signed.read())
    except msgspec.DecodeError:
        return None


def is_signed(link: Link, keys: Collection[str]) -> bool:
    """Whether one of the keys signed it, and it is the one that the statement names."""
    key = link.seal.key
    return key in keys and link.signed.is_signed_by(key)


def follows(link: Link, previous: Link | None) -> bool:
    """Whether a seal is the next after another one, or the first."""
    seal = link.seal
    if previous is None:
        return seal.seal == 1 and seal.after == 0 and seal.previous == ""
    before = previous.seal
    is_next = seal.seal == before.seal + 1 and seal.after == before.last <= seal.last
    return is_next and seal.previous == previous.signed.hash()


def read_public_key(text: str) -> str:
    """Return a public key that a person typed, as hexadecimal text. Raises BadRequest."""
    key = text.strip().lower()
    if len(key) != 64 or any(digit not in "0123456789abcdef" for digit in key):
        raise BadRequest("a public key is 64 hexadecimal digits: `caudex audit verify` prints it")
    return key
