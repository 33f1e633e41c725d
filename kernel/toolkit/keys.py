"""Secret keys of the server: from the configuration, or a file made on first boot."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kernel.contracts.statements import Statements
from kernel.errors import BootError

if TYPE_CHECKING:
    from kernel.hooks.plugin import DatabaseQuery

SIZE = 32
KEPT = "select fingerprint from caudex_kernel.keys where name = $1::text"
ANOTHER = "it is not the key that this database was set up with"


def load_key(name: str, configured: str, data_dir: Path, *, may_create: bool = True) -> bytes:
    """Return the key `name` (32 bytes): base64 or hex, else `<data-dir>/config/<name>.key`. Text
    that is neither is itself the key.

    The file is made with mode 0600 when it is missing and may be; of a longer key the SHA-256 is
    used. Raises BootError when it is missing, cannot be read or is too short to be a key.
    """
    file = data_dir / "config" / f"{name}.key"
    if not configured:
        try:
            if not file.exists():
                if not may_create:
                    problem = f"{file} is missing, and this database was set up with it"
                    raise BootError(f"key {name}", problem, "restore the file")
                _create(file)
            configured = file.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            said = getattr(error, "strerror", None) or "it is no text"
            remedy = "run as the account that made it, or restore it"
            raise BootError(f"key {name}", f"{file} cannot be read: {said}", remedy) from None
    key = _decode(configured)
    if len(key) < SIZE:
        problem = f"it has {len(key)} bytes, {SIZE} are needed"
        raise BootError(f"key {name}", problem, "make one with: openssl rand -base64 32")
    return key if len(key) == SIZE else hashlib.sha256(key).digest()


async def server_key(statements: Statements, name: str, configured: str, data_dir: Path) -> bytes:
    """Return the key `name` as `load_key` does, the one that all servers of a database share.

    The first server makes it. Raises BootError, and changes nothing, where that has been and the
    key is missing or another.
    """
    kept = await statements.fetch(KEPT, name)
    key = _same(name, configured, data_dir, kept.decode() if kept else None)
    await check_key(statements, name, key)
    return key


def compare_key(ask: DatabaseQuery, name: str, configured: str, data_dir: Path) -> None:
    """Say in `diagnose` what would keep `server_key` from its key. Raises BootError."""
    if kept := ask(KEPT, name):
        _same(name, configured, data_dir, kept)


def _same(name: str, configured: str, data_dir: Path, kept: str | None) -> bytes:
    key = load_key(name, configured, data_dir, may_create=not kept)
    if kept and _fingerprint(key) != kept:
        file = data_dir / "config" / f"{name}.key"
        remedy = "configure that one" if configured else f"put that one into {file}"
        raise BootError(f"key {name}", ANOTHER, remedy)
    return key


async def check_key(statements: Statements, name: str, key: bytes) -> None:
    """Compare a key's fingerprint with the one in the database, kept there by the first server.

    Raises BootError: two servers on one database must not disagree.
    """
    fingerprint = _fingerprint(key)
    kept = await statements.execute(
        "insert into caudex_kernel.keys as k (name, fingerprint) values ($1::text, $2::text)"
        " on conflict (name) do update set fingerprint = k.fingerprint returning fingerprint",
        name,
        fingerprint,
    )
    if kept is not None and kept.decode() != fingerprint:
        remedy = f"restore config/{name}.key of the data folder, or the configured key"
        raise BootError(f"key {name}", ANOTHER, remedy)


def _fingerprint(key: bytes) -> str:
    return hashlib.sha256(b"caudex key fingerprint\0" + key).hexdigest()[:32]


def _create(file: Path) -> None:
    """Write a new key aside and link it into place: no process ever reads half a key."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=f".{file.name}-") as aside:
            aside.write(base64.b64encode(secrets.token_bytes(SIZE)).decode() + "\n")
            aside.flush()
            os.fsync(aside.fileno())
            with suppress(FileExistsError):
                os.link(aside.name, file)
        sync_folder(file.parent)
    except OSError as error:
        problem = f"{file} cannot be written: {error.strerror}"
        raise BootError("data directory", problem, "choose another with --data-dir") from None


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk (fsync(2)), to outlast a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _decode(text: str) -> bytes:
    with suppress(ValueError):
        return bytes.fromhex(text)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return text.encode()
