"""Secret keys of the server: from the configuration, or a file made on first boot."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from kernel.contracts.statements import Statements
from kernel.errors import BadRequest, BootError
from kernel.toolkit.files import write_file

SIZE = 32
_KEPT = "select fingerprint from caudex_kernel.keys where name = $1::text"
_KEEP = """
insert into caudex_kernel.keys as k (name, fingerprint) values ($1::text, $2::text)
on conflict (name) do update set fingerprint = k.fingerprint returning fingerprint"""


async def server_key(statements: Statements, name: str, configured: str, data_dir: Path) -> bytes:
    """Return the key `name` of a `Keyring`, the one that all servers of a database share.

    The first server creates it. Raises BootError, and changes nothing, if the key was created
    before and is now missing or different.
    """
    ring = Keyring(name, data_dir, configured)
    fingerprint = await statements.fetch(_KEPT, name)
    newest = ring.read(may_create=not fingerprint).newest
    if not fingerprint:
        fingerprint = await statements.execute(_KEEP, name, newest)  # that of the first server
    return ring.check((fingerprint or b"").decode())


def compare_key(ask: Callable[..., str | None], name: str, configured: str, data_dir: Path) -> None:
    """Check in `diagnose` whether `server_key` would fail. Raises BootError."""
    fingerprint = ask(_KEPT, name)
    if fingerprint:
        Keyring(name, data_dir, configured).check(fingerprint)


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"caudex key fingerprint\0" + key).hexdigest()[:32]


class Keys(NamedTuple):
    """Keys of 32 bytes by their ids; the one named `newest` encrypts."""

    newest: str
    known: Mapping[str, bytes]

    @property
    def sealing(self) -> bytes:
        """The key that seals."""
        return self.known[self.newest]


@dataclass(eq=False)
class Keyring:
    """Reads and rotates the keys `name` that a plugin encrypts with.

    The newest key encrypts, the others still decrypt. `configured` is the newest one; without it,
    the keys are the lines of `<data-dir>/config/<name>.key`, newest first. The keys `old` only
    decrypt. `key_id` returns a name for a key that does not reveal it.

    A key is base64 or hex of 32 bytes; text that is neither is itself the key. A longer key is
    replaced by its SHA-256. All methods block, and raise BootError.
    """

    name: str
    data_dir: Path
    configured: str = ""
    old: Sequence[str] = ()
    key_id: Callable[[bytes], str] = _fingerprint

    @property
    def file(self) -> Path:
        """The file of the keys."""
        return self.data_dir / "config" / f"{self.name}.key"

    def read(self, *, may_create: bool = False) -> Keys:
        """Read the keys; `may_create` creates the file, with mode 0600, at the first start."""
        texts = [self.configured] if self.configured else self._lines(may_create=may_create)
        keys = [self._decode(text) for text in (*texts, *self.old)]
        return Keys(self.key_id(keys[0]), {self.key_id(key): key for key in keys})

    def check(self, recorded: str) -> bytes:
        """Return the key whose id is recorded in the database. Raises BootError without it."""
        key = self.read().known.get(recorded)
        if key is None:
            problem = "it is not the key that this database was set up with"
            remedy = "configure that one" if self.configured else f"put that one into {self.file}"
            raise BootError(f"key {self.name}", problem, remedy)
        return key

    def add_new(self) -> str:
        """Put a new key before the others and return its id. Raises BadRequest."""
        if self.configured:
            raise BadRequest(
                "the master key comes from the configuration, and encrypts everything already: set"
                " a new master_key, put the old one into old_master_keys, restart and try again"
            )
        self._write([secrets.token_hex(SIZE), *self._lines()])
        return self.read().newest

    def keep_only(self, key_id: str) -> None:
        """Remove the other keys from the file: they decrypt nothing any more."""
        if not self.configured:
            self._write([self.read().known[key_id].hex()])

    def _lines(self, *, may_create: bool = False) -> list[str]:
        try:
            if not self.file.exists():
                if not may_create:
                    problem = f"{self.file} is missing, and this database was set up with it"
                    raise BootError(f"key {self.name}", problem, "restore the file")
                self._write([secrets.token_hex(SIZE)], replace=False)
            mode = self.file.stat().st_mode & 0o777
            if mode & 0o077:
                problem = f"{self.file} can be read by other accounts (mode {mode:04o})"
                raise BootError(f"key {self.name}", problem, f"chmod 600 {self.file}")
            return self.file.read_text("ascii").split() or [""]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text"
            problem = f"{self.file} cannot be read: {reason}"
            remedy = "run as the account that made it, or restore it"
            raise BootError(f"key {self.name}", problem, remedy) from None

    def _write(self, lines: Sequence[str], *, replace: bool = True) -> None:
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_file(self.file, "".join(f"{line}\n" for line in lines).encode(), replace=replace)
        except OSError as error:
            problem = f"{self.file} cannot be written: {error.strerror}"
            remedy = "fix that, or choose another with --data-dir"
            raise BootError("data directory", problem, remedy) from None

    def _decode(self, text: str) -> bytes:
        key = text.encode()
        with suppress(ValueError):
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        with suppress(ValueError):
            key = bytes.fromhex(text)
        if len(key) < SIZE:
            problem = f"it has {len(key)} bytes, {SIZE} are needed"
            raise BootError(f"key {self.name}", problem, "make one with: openssl rand -base64 32")
        return key if len(key) == SIZE else hashlib.sha256(key).digest()
