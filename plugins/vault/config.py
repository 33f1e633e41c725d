"""`[plugins.vault]`."""

from __future__ import annotations

from kernel.public import Section


class VaultConfig(Section, frozen=True, kw_only=True):
    """Where the master key comes from.

    `master_key` is base64 or hex text of 32 bytes; without it `<data-dir>/config/master.key` is
    used, one key a line, the current one first. `old_master_keys` can still open what was sealed
    before a rotation.
    """

    master_key: str = ""
    old_master_keys: tuple[str, ...] = ()
