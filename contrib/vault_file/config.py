"""`[plugins.vault_file]`."""

from __future__ import annotations

from kernel.public import Section


class VaultFileConfig(Section, frozen=True, kw_only=True):
    """The folder of the sealed files, and the source of the key that seals them.

    `master_key` is base64 or hex text of 32 bytes; without it `<data-dir>/config/vault_file.key` is
    used, one key a line, the current one first. `old_master_keys` can still open what was sealed
    before a rotation.
    """

    folder: str = ""
    master_key: str = ""
    old_master_keys: tuple[str, ...] = ()
