"""Secret keys of the server: from the configuration, or a file made on first boot."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from kernel.contracts.statements import Statements
from kernel.errors import BadRequest, BootError
from kernel.toolkit.files import write_file

Id = TypeVar("Id", str, bytes)

SIZE = 32
_KEPT = "select fingerprint from caudex_kernel.keys where name = $1::text"
_KEEP = """
insert into caudex_kernel.keys as k (name, fingerprint) values ($1::text, $2::text)
on conflict (name) do update set fingerprint = k.fingerprint returning fingerprint"""


def load_key(name: str, configured: str, data_dir: Path, *, may_create: bool = True) -> bytes:
    """Return the key `name` (32 bytes): base64 or hex, else `<data-dir>/config/<name>.key`. Text
    that is neither is itself the key.

    If the file is missing and `may_create` is set, it is created with mode 0600. A longer key is
    replaced by its SHA-256. Raises BootError when the key is missing, unreadable or too short.
    """
    return _decode(name, configured or _read(name, data_dir, may_create=may_create).strip())


async def server_key(statements: Statements, name: str, configured: str, data_dir: Path) -> bytes:
    """Return the key `name` as `load_key` does, the one that all servers of a database share.

    The first server creates it. Raises BootError, and changes nothing, if the key was created
    before and is now missing or different.
    """
    key = _compared(name, configured, data_dir, await statements.fetch(_KEPT, name))
    kept = await statements.execute(_KEEP, name, _fingerprint(key))  # of the first server
    return _compared(name, configured, data_dir, kept)


def compare_key(ask: Callable[..., str | None], name: str, configured: str, data_dir: Path) -> None:
    """Check in `diagnose` whether `server_key` would fail. Raises BootError."""
    if kept := ask(_KEPT, name):
        _compared(name, configured, data_dir, kept.encode())


class Keys(NamedTuple, Generic[Id]):
    """Keys of 32 bytes by their ids; the one named `newest` encrypts."""

    newest: Id
    known: Mapping[Id, bytes]

    @property
    def sealing(self) -> bytes:
        """The key that seals."""
        return self.known[self.newest]


@dataclass(eq=False)
class Keyring(Generic[Id]):
    """Reads and rotates the keys `name` that a plugin encrypts with.

    The newest key encrypts, the others still decrypt. `configured` is the newest one; without it,
    the keys are the lines of `<data-dir>/config/<name>.key`, newest first. The keys `old` only
    decrypt. `key_id` returns a name for a key that does not reveal it. All methods block, and raise
    BootError.
    """

    name: str
    data_dir: Path
    configured: str
    old: Sequence[str]
    key_id: Callable[[bytes], Id]

    @property
    def file(self) -> Path:
        """The file of the keys."""
        return _file(self.name, self.data_dir)

    def read(self, *, may_create: bool = False) -> Keys[Id]:
        """Read the keys; `may_create` creates the file at the very first start."""
        newest = [self.configured] if self.configured else self._lines(may_create=may_create)
        keys = [_decode(self.name, text) for text in (*newest, *self.old)]
        return Keys(self.key_id(keys[0]), {self.key_id(key): key for key in keys})

    def check(self, recorded: Id) -> None:
        """Compare with the id of the key that encrypted the data in the database.

        Raises BootError where it is another one.
        """
        if recorded not in self.read().known:
            problem = "it is not the key that this database's secrets are sealed with"
            remedy = f"restore {self.file} or the configured master_key"
            raise BootError(f"key {self.name}", problem, remedy)

    def add_new(self) -> Id:
        """Put a new key before the others and return its id. Raises BadRequest."""
        if self.configured:
            raise BadRequest(
                "the master key comes from the configuration and seals everything already: set a"
                " new master_key, put the old one into old_master_keys, restart and try again"
            )
        self._write([_encode(secrets.token_bytes(SIZE)), *self._lines()])
        return self.read().newest

    def keep_only(self, wanted: Id) -> None:
        """Remove the other keys from the file: they decrypt nothing any more."""
        if not self.configured:
            self._write([_encode(self.read().known[wanted])])

    def _lines(self, *, may_create: bool = False) -> list[str]:
        return _read(self.name, self.data_dir, may_create=may_create).split() or [""]

    def _write(self, lines: Sequence[str]) -> None:
        _write(self.file, "\n".join(lines))


def _file(name: str, data_dir: Path) -> Path:
    return data_dir / "config" / f"{name}.key"


def _read(name: str, data_dir: Path, *, may_create: bool) -> str:
    file = _file(name, data_dir)
    try:
        if not file.exists():
            if not may_create:
                problem = f"{file} is missing, and this database was set up with it"
                raise BootError(f"key {name}", problem, "restore the file")
            _write(file, _encode(secrets.token_bytes(SIZE)), replace=False)
        if (mode := file.stat().st_mode & 0o777) & 0o077:
            problem = f"{file} can be read by other accounts (mode {mode:04o})"
            raise BootError(f"key {name}", problem, f"chmod 600 {file}")
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        said = getattr(error, "strerror", None) or "it is no text"
        remedy = "run as the account that made it, or restore it"
        raise BootError(f"key {name}", f"{file} cannot be read: {said}", remedy) from None


def _write(file: Path, text: str, *, replace: bool = True) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_file(file, f"{text}\n".encode(), replace=replace)
    except OSError as error:
        problem = f"{file} cannot be written: {error.strerror}"
        remedy = "fix that, or choose another with --data-dir"
        raise BootError("data directory", problem, remedy) from None


def _compared(name: str, configured: str, data_dir: Path, kept: bytes | None) -> bytes:
    key = load_key(name, configured, data_dir, may_create=not kept)
    if kept and _fingerprint(key) != kept.decode():
        problem = "it is not the key that this database was set up with"
        file = _file(name, data_dir)
        remedy = "configure that one" if configured else f"put that one into {file}"
        raise BootError(f"key {name}", problem, remedy)
    return key


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"caudex key fingerprint\0" + key).hexdigest()[:32]


def _encode(key: bytes) -> str:
    return base64.b64encode(key).decode()


def _decode(name: str, text: str) -> bytes:
    key = text.encode()
    with suppress(ValueError):
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    with suppress(ValueError):
        key = bytes.fromhex(text)
    if len(key) < SIZE:
        problem = f"it has {len(key)} bytes, {SIZE} are needed"
        raise BootError(f"key {name}", problem, "make one with: openssl rand -base64 32")
    return key if len(key) == SIZE else hashlib.sha256(key).digest()
