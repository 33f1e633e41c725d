"""The state of a sign-in in progress: encrypted, in a cookie of the browser that began it.

So the server stores nothing for sign-ins that are not finished. A callback in another browser
(login CSRF, RFC 6819, 4.4.1.8) has no valid state.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import Final

import msgspec
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from kernel.public import BadRequest

from .models import Attempt

ATTEMPT_SECONDS: Final = 600


class Attempts:
    """Begins sign-ins, and reads their state on any server with the same client secret."""

    def __init__(self, client_secret: str) -> None:
        key = hashlib.blake2b(
            client_secret.encode(), digest_size=32, person=b"caudex-oidc"
        ).digest()
        self._box = SecretBox(key)

    def begin(self, return_to: str, challenge: str = "") -> tuple[Attempt, str]:
        """Return an attempt, and its encrypted text for the cookie."""
        attempt = Attempt(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            return_to=return_to,
            challenge=challenge,
            expires=time.time() + ATTEMPT_SECONDS,
        )
        return attempt, self._box.encrypt(msgspec.json.encode(attempt)).hex()

    def open(self, sealed: str, state: str) -> Attempt:
        """Return the attempt that a callback belongs to. Raises BadRequest."""
        try:
            if len(sealed) > 4000:
                raise ValueError
            attempt = msgspec.json.decode(self._box.decrypt(bytes.fromhex(sealed)), type=Attempt)
        except (ValueError, TypeError, CryptoError, msgspec.DecodeError):
            raise BadRequest("this sign-in was not begun in this browser: begin again") from None
        if not hmac.compare_digest(attempt.state.encode(), state.encode()):
            raise BadRequest("this sign-in was not begun in this browser: begin again")
        if attempt.expires < time.time():
            raise BadRequest("this sign-in took too long: begin again")
        return attempt
