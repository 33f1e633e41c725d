"""The keys that a plugin seals with: the newest one seals, older ones still open."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

from kernel.errors import BadRequest, BootError
from kernel.toolkit.keys import SIZE, load_key, sync_folder

Id = TypeVar("Id", str, bytes)


class Keys(NamedTuple, Generic[Id]):
    """Keys of 32 bytes by their ids; `newest` seals."""

    newest: Id
    known: Mapping[Id, bytes]

    @property
    def sealing(self) -> bytes:
        """The key that seals."""
        return self.known[self.newest]


class Keyring(Generic[Id]):
    """Reads and rotates the keys `name`.

    `configured` is the newest key from the configuration; without it the keys are the lines of
    `<data-dir>/config/<name>.key`, newest first. The keys `old` open only. `key_id` names a key
    without giving it away. All methods block, and raise
    BootError.
    """

    def __init__(
        self,
        name: str,
        data_dir: Path,
        configured: str,
        old: Sequence[str],
        key_id: Callable[[bytes], Id],
    ) -> None:
        self._name = name
        self._data_dir = data_dir
        self._old = old
        self._key_id = key_id
        self.configured = configured
        self.file = data_dir / "config" / f"{name}.key"

    def read(self, *, may_create: bool = False) -> Keys[Id]:
        """Read the keys; `may_create` makes the file on the first boot of all."""
        found = [load_key(self._name, text, self._data_dir) for text in self._texts(may_create)]
        return Keys(self._key_id(found[0]), {self._key_id(key): key for key in found})

    def check(self, recorded: Id) -> None:
        """Compare with the id of the key that sealed what the database holds."""
        if recorded not in self.read().known:
            problem = "it is not the key that this database's secrets are sealed with"
            remedy = f"restore {self.file} or the configured master_key"
            raise BootError(f"key {self._name}", problem, remedy)

    def add_new(self) -> Id:
        """Put a new key before the others and return its id. Raises BadRequest."""
        if self.configured:
            raise BadRequest(
                "the master key comes from the configuration and seals everything already: set a"
                " new master_key, put the old one into old_master_keys, restart and try again"
            )
        new = base64.b64encode(secrets.token_bytes(SIZE)).decode()
        self._write([new, *self._lines()])
        return self.read().newest

    def keep_only(self, wanted: Id) -> None:
        """Remove the other keys from the file: they open nothing any more."""
        if not self.configured:
            self._write([base64.b64encode(self.read().known[wanted]).decode()])

    def _texts(self, may_create: bool) -> Sequence[str]:
        if self.configured:
            return [self.configured, *self._old]
        if self._is_missing():
            if not may_create:
                problem = f"{self.file} is missing, and this database holds secrets sealed by it"
                raise BootError(f"key {self._name}", problem, "restore the file")
            load_key(self._name, "", self._data_dir)
        return [*self._lines(), *self._old]

    def _is_missing(self) -> bool:
        try:
            return not self.file.exists()
        except OSError:  # it may exist: reading it reports what is wrong
            return False

    def _lines(self) -> list[str]:
        try:
            lines = self.file.read_text("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise BootError(f"key {self._name}", f"{self.file} cannot be read: {error}") from None
        if not lines:
            raise BootError(f"key {self._name}", f"{self.file} is empty", "restore the file")
        return lines

    def _write(self, lines: Sequence[str]) -> None:
        try:
            write_file(self.file, "".join(f"{line}\n" for line in lines).encode())
        except OSError as error:
            problem = f"{self.file} cannot be written: {error.strerror}"
            raise BootError(f"key {self._name}", problem, "fix that and try again") from None


def write_file(file: Path, content: bytes) -> None:
    """Replace a file in one step (rename(2)), readable for its owner only. Raises OSError.

    A crash leaves the old content or the new one, and perhaps a file `.new-…` beside it. On return
    the new one is on the disk.
    """
    aside = file.with_name(f".new-{file.name}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(aside, flags, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)
