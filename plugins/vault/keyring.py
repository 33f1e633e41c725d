"""The master keys of the vault."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kernel.public import Keyring

from .config import VaultConfig
from .sealing import key_id

ENVIRONMENT: Final = "CAUDEX_PLUGINS__VAULT__MASTER_KEY"


def open_keyring(config: VaultConfig, data_dir: Path) -> Keyring[str]:
    """Make the keyring, and remove the key from the environment, where other code could read it."""
    os.environ.pop(ENVIRONMENT, None)
    return Keyring("master", data_dir, config.master_key, config.old_master_keys, key_id)
