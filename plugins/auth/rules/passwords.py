"""Password hashes by Argon2id (RFC 9106), and the rules for new passwords."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Set
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import anyio.to_thread
from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from kernel.public import BadRequest, BootError, ConcurrencyLimiter, fold_name
from plugins.auth.models import NewAccount, Registration

from .names import check_names

T = TypeVar("T")
PASSES = 2
MEMORY = 19 * 1024 * 1024
"""Bytes; with two passes the second choice of OWASP's password storage cheat sheet."""

PARAMETERS = f"$argon2id$v=19$m={MEMORY // 1024},t={PASSES},p=1$"
MAX_WAITING = 64
"""Hashes that wait for one of two threads."""
MAX_PASSWORD = 1024
MAX_ESTIMATED: Final = 32
"""Characters of a password whose guesses are estimated. Longer ones are in no list, and the time
grows with the square."""
MAX_SPELLINGS: Final = 16
"""Readings of look-alikes (`4` and `@` as `a`) that are estimated, each like a password. With both
bounds an estimate takes about as long as two hashes; a password of symbols took seconds."""

TOO_COMMON: Final = "password is too common"

_PHC: Final = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,9}),t=([0-9]{1,9}),p=1\$[A-Za-z0-9+/]{11,22}\$[A-Za-z0-9+/]{22,43}"
)
_KINDS: Final = {
    "an uppercase letter": str.isupper,
    "a lowercase letter": str.islower,
    "a digit": str.isdecimal,
}


class PasswordHasher:
    """Makes and checks PHC strings on threads. Raises Unavailable when too many calls wait."""

    def __init__(self) -> None:
        message = "too many logins at the same moment"
        self._limiter = ConcurrencyLimiter(2, queue=MAX_WAITING, message=message)
        self._dummy = _hash(secrets.token_urlsafe())

    async def hash(self, password: str, check: Callable[[str], None] | None = None) -> str:
        """Hash a password with a random salt; `check` may refuse it first, on the thread."""

        def work() -> str:
            if check is not None:
                check(password)
            return _hash(password)

        return await self._run(work)

    async def verify(self, phc: str | None, password: str) -> bool:
        """Check a password. Without a hash it takes the same time, so the time reveals nothing."""
        matches = await self._run(lambda: _verify(phc or self._dummy, password))
        return matches and phc is not None

    def is_outdated(self, phc: str) -> bool:
        """Whether a hash was made with other parameters than the current ones."""
        return not phc.startswith(PARAMETERS)

    async def _run(self, work: Callable[[], T]) -> T:
        async with self._limiter.hold():
            return await anyio.to_thread.run_sync(work)


class PasswordRules:
    """The rules for a new password; `common` holds refused ones, casefolded.

    With `refuse_common` those that zxcvbn finds within a million guesses are refused too: words of
    its lists, names, dates and patterns, also with other letters' case or look-alikes.
    """

    def __init__(self, common: Set[str] = frozenset(), *, refuse_common: bool = False) -> None:
        self._common = common
        self._refuse_common = refuse_common

    def check(self, password: str, *names: str | None) -> None:
        """Raise BadRequest for a password that is too short, too simple, listed, or a name.

        It takes no time; see `refuse_guessable`.
        """
        if not 10 <= len(password) <= MAX_PASSWORD:
            raise BadRequest(f"password must have 10 to {MAX_PASSWORD} characters")
        for kind, belongs in _KINDS.items():
            if not any(map(belongs, password)):
                raise BadRequest(f"password must have {kind}")
        if fold_name(password) in {fold_name(name) for name in names if name}:
            raise BadRequest("password must not be the username or the email")
        if password.casefold() in self._common:
            raise BadRequest(TOO_COMMON)

    def refuse_guessable(self, password: str) -> None:
        """Raise BadRequest for a password that is guessed easily.

        It computes for up to a tenth of a second: call it on a thread, and of a client's attempts
        only those that are counted.
        """
        if self._refuse_common and _is_guessable(password):
            raise BadRequest(TOO_COMMON)

    def check_registration(self, form: Registration) -> NewAccount:
        """Check a registration. Raises BadRequest."""
        new = check_names(form)
        self.check(form.password, new.username, new.email)
        return new


class Passwords(NamedTuple):
    """What a new password is checked and hashed with."""

    hasher: PasswordHasher
    rules: PasswordRules

    async def hash_chosen(self, password: str) -> str:
        """Hash a new password. Raises BadRequest for one that is guessed easily."""
        return await self.hasher.hash(password, check=self.rules.refuse_guessable)


def _is_guessable(password: str) -> bool:
    """Whether zxcvbn finds a password within a million guesses."""
    if len(password) > MAX_ESTIMATED:
        return False
    from zxcvbn import matching, zxcvbn  # on demand: its lists take 10 MB

    look_alikes = matching.relevant_l33t_subtable(password, matching.L33T_TABLE)
    spellings = math.prod(len(letters) for letters in look_alikes.values())
    if spellings > MAX_SPELLINGS:
        return False
    return zxcvbn(password)["score"] < 2


def check_hash(phc: str) -> None:
    """Raise BadRequest for a hash that this server does not verify, or that takes too long."""
    match = _PHC.fullmatch(phc)
    if match is None:
        raise BadRequest("password_hash: must be $argon2id$v=19$m=…,t=…,p=1$…")
    kibibytes = int(match[1])
    passes = int(match[2])
    if not 8 <= kibibytes <= 256 * 1024 or not 1 <= passes <= 10:
        raise BadRequest("password_hash: at most 256 MiB (m=262144) and 10 passes (t=10)")


def read_common(file: str) -> Set[str]:
    """Read a list of common passwords, one a line. Raises BootError."""
    if not file:
        return frozenset()
    setting = "[plugins.auth] common_passwords"
    try:
        if Path(file).stat().st_size > 20_000_000:
            raise BootError(setting, f"{file} is over 20000000 bytes")
        lines = Path(file).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BootError(setting, f"{file} cannot be read: {error}") from None
    return frozenset(line.casefold() for line in lines if line)


def _hash(password: str) -> str:
    return argon2id.str(password.encode(), opslimit=PASSES, memlimit=MEMORY).decode("ascii")


def _verify(phc: str, password: str) -> bool:
    try:
        return argon2id.verify(phc.encode(), password.encode())
    except InvalidkeyError:
        return False
