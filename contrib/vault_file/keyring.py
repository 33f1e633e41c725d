"""The keys that a server holds: one that seals, older ones that still open."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from kernel.public import BadRequest, BootError, load_key

from .config import VaultFileConfig
from .files import write_whole
from .sealing import key_id

ENVIRONMENT: Final = "CAUDEX_PLUGINS__VAULT_FILE__MASTER_KEY"
WHERE: Final = "key vault_file"


class Keys(NamedTuple):
    """Keys by their ids; `newest` seals."""

    newest: bytes
    known: Mapping[bytes, bytes]

    @property
    def sealing(self) -> bytes:
        """The key that seals."""
        return self.known[self.newest]


class Keyring:
    """Reads the keys; a file is read each time, so that every process follows a rotation."""

    def __init__(self, config: VaultFileConfig, data_dir: Path) -> None:
        self._config = config
        self._data_dir = data_dir
        self.file = data_dir / "config" / "vault_file.key"

    @property
    def configured(self) -> bool:
        """Whether the key comes from the configuration."""
        return bool(self._config.master_key)

    def read(self, *, may_create: bool = False) -> Keys:
        """Read the keys; the file is made on the first boot of all. Raises BootError."""
        found = [load_key("vault_file", text, self._data_dir) for text in self._texts(may_create)]
        # Worker processes get an environment of their own; this is for what else looks there.
        os.environ.pop(ENVIRONMENT, None)
        return Keys(key_id(found[0]), {key_id(key): key for key in found})

    def add_new(self) -> None:
        """Put a new key before the others. Raises BadRequest where the configuration gives it."""
        if self.configured:
            raise BadRequest(
                "the master key comes from the configuration and seals everything already: set a"
                " new master_key, put the old one into old_master_keys, restart and try again"
            )
        self._write([base64.b64encode(secrets.token_bytes(32)).decode(), *self._lines()])

    def keep_only(self, wanted: bytes) -> None:
        """Drop the keys from the file that open nothing any more."""
        if not self.configured:
            self._write([base64.b64encode(self.read().known[wanted]).decode()])

    def _texts(self, may_create: bool) -> Sequence[str]:
        if self.configured:
            return [self._config.master_key, *self._config.old_master_keys]
        if self._is_missing():
            if not may_create:
                problem = f"{self.file} is missing, and there are secrets that were sealed by it"
                raise BootError(WHERE, problem, "restore the file")
            load_key("vault_file", "", self._data_dir)
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
            raise BootError(WHERE, f"{self.file} cannot be read: {error}") from None
        if not lines:
            raise BootError(WHERE, f"{self.file} is empty", "restore the file")
        return lines

    def _write(self, lines: Sequence[str]) -> None:
        write_whole(self.file, "".join(f"{line}\n" for line in lines).encode())
