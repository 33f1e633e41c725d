"""The master keys that a server holds: one that seals, older ones that still open."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kernel.public import BootError, load_key, sync_folder

from .config import VaultConfig
from .sealing import key_id

ENVIRONMENT: Final = "CAUDEX_PLUGINS__VAULT__MASTER_KEY"


class Keyring:
    """Master keys by their ids."""

    def __init__(self, config: VaultConfig, data_dir: Path) -> None:
        self._config = config
        self._data_dir = data_dir
        self._keys: dict[str, bytes] = {}
        self.newest = ""

    @property
    def file(self) -> Path:
        """Where the keys lie that no configuration gives."""
        return self._data_dir / "config" / "master.key"

    def load(self, *, may_create: bool) -> None:
        """Read the keys; the file is made on the first boot of all. Raises BootError."""
        texts = self._texts(may_create=may_create)
        keys = [load_key("master", text, self._data_dir) for text in texts]
        self._keys = {key_id(key): key for key in keys}
        self.newest = key_id(keys[0])
        # Worker processes get an environment of their own; this is for what else looks there.
        os.environ.pop(ENVIRONMENT, None)

    def find(self, name: str) -> bytes | None:
        """Return the key with an id; the file is read anew for one that is not known."""
        if name not in self._keys and not self._config.master_key:
            self.load(may_create=False)
        return self._keys.get(name)

    def check(self, recorded: str) -> None:
        """See that the key which seals what the database holds is here. Raises BootError."""
        if self.find(recorded) is None:
            raise BootError(
                "key master",
                "it is not the key that this database's secrets are sealed with",
                f"restore {self.file} or the configured master_key",
            )

    def add_new(self) -> str:
        """Put a new key before the others and return its id. Raises BootError."""
        if self._config.master_key:
            raise BootError(
                "rotate-keys",
                "the master key comes from the configuration and is the newest already",
                "set a new master_key, put the old one into old_master_keys, restart and try again",
            )
        self._write([base64.b64encode(secrets.token_bytes(32)).decode(), *self._lines()])
        self.load(may_create=False)
        return self.newest

    def keep_only(self, name: str) -> None:
        """Drop the keys from the file that open nothing any more."""
        if not self._config.master_key:
            self._write([base64.b64encode(self._keys[name]).decode()])
            self.load(may_create=False)

    def _texts(self, *, may_create: bool) -> Sequence[str]:
        if self._config.master_key:
            return [self._config.master_key, *self._config.old_master_keys]
        if self._is_missing():
            if not may_create:
                problem = f"{self.file} is missing, and this database holds secrets sealed by it"
                raise BootError("key master", problem, "restore the file")
            load_key("master", "", self._data_dir)
        return [*self._lines(), *self._config.old_master_keys]

    def _is_missing(self) -> bool:
        try:
            return not self.file.exists()
        except OSError:  # it may be there: whoever reads it says what is wrong
            return False

    def _lines(self) -> list[str]:
        try:
            lines = self.file.read_text("ascii").split()
        except (OSError, UnicodeDecodeError) as error:
            raise BootError("key master", f"{self.file} cannot be read: {error}") from None
        if not lines:
            raise BootError("key master", f"{self.file} is empty", "restore the file")
        return lines

    def _write(self, lines: Sequence[str]) -> None:
        """Replace the file in one step: a crash leaves the old keys or the new ones. It is on the
        disk when this returns. Raises BootError."""
        try:
            _replace(self.file, "\n".join(lines) + "\n")
        except OSError as error:
            problem = f"{self.file} cannot be written: {error.strerror}"
            raise BootError("key master", problem, "mend that and try again") from None


def _replace(file: Path, text: str) -> None:
    aside = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)
