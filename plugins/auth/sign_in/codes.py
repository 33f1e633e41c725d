"""Time-based one-time passwords (RFC 6238) and recovery codes; reads and writes no database."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from time import time
from typing import Final

import pyotp
from nacl.exceptions import CryptoError
from nacl.secret import Aead
from pyotp.totp import TOTP

STEP_SECONDS: Final = 30
RECOVERY_CODES: Final = 10
MAX_DRAWN: Final = 400
"""Characters that a QR code is drawn of: a larger one is hard to scan from a screen."""
DIGITS: Final = re.compile(r"[0-9]{6}")


class Sealer:
    """Encrypts secrets at rest (XChaCha20-Poly1305) with a key derived from the signing key.

    The user id is associated data: a secret that is copied to another account does not open.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = Aead(hmac.digest(key, b"caudex second factor", "sha256"))

    def seal(self, secret: str, user_id: str) -> str:
        """Encrypt a secret."""
        sealed = self._aead.encrypt(secret.encode(), user_id.encode())
        return base64.b64encode(sealed).decode("ascii")

    def open(self, sealed: str, user_id: str) -> str | None:
        """Decrypt a secret; None where another key sealed it."""
        try:
            return self._aead.decrypt(base64.b64decode(sealed), user_id.encode()).decode()
        except (ValueError, CryptoError):
            return None


def new_secret(username: str) -> tuple[str, str]:
    """Make a secret of 160 bits (RFC 4226, R6); return it with its `otpauth:` address."""
    secret = pyotp.random_base32()
    return secret, TOTP(secret).provisioning_uri(name=username, issuer_name="Caudex")


def draw_qr_code(text: str) -> list[str] | None:
    """Return a QR code (ISO/IEC 18004) as rows of squares, `1` for a dark one.

    None for a long text. It computes for hundredths of a second: call it on a thread.
    """
    if len(text) > MAX_DRAWN:
        return None
    import qrcode  # on demand: few requests need it

    code = qrcode.QRCode(border=0, error_correction=qrcode.ERROR_CORRECT_M)
    code.add_data(text)
    code.make(fit=True)
    return ["".join("1" if dark else "0" for dark in row) for row in code.get_matrix()]


def find_step(secret: str, code: str, after: int) -> int | None:
    """Return the time step of a code, None for a wrong one.

    The current step and its neighbours are accepted, for clocks that differ by 30 seconds, but no
    step up to `after`, that of the newest used code.
    """
    if not DIGITS.fullmatch(code):
        return None
    totp = TOTP(secret)
    current = int(time()) // STEP_SECONDS
    newest_match = None
    for step in range(current - 1, current + 2):
        is_match = hmac.compare_digest(totp.generate_otp(step), code)
        if is_match and step > after:
            newest_match = step
    return newest_match


def new_recovery_codes() -> list[str]:
    """Make recovery codes: four groups of seven letters and digits with 140 random bits."""
    return [_new_recovery_code() for _ in range(RECOVERY_CODES)]


def _new_recovery_code() -> str:
    letters = base64.b32encode(secrets.token_bytes(20)).decode("ascii").lower()
    return "-".join(letters[start : start + 7] for start in range(0, 28, 7))


def hash_recovery_code(code: str) -> str:
    """Return what is stored of a recovery code; case, hyphens and spaces do not matter.

    A plain hash is enough for 140 random bits (ASVS 5.0, 6.5.2).
    """
    letters = re.sub(r"[\s-]", "", code).lower()
    return hashlib.sha256(letters.encode()).hexdigest()
