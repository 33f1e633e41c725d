"""`[plugins.backup]`."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from kernel.public import Section


class BackupConfig(Section, frozen=True, kw_only=True):
    """Backups by schedule, and their encryption.

    With a `folder` one server of all that share the database makes a backup there every
    `every_hours`, keeps the `keep` newest, and proves the newest by a restore every `verify_days`
    (0 never). `with_keys` includes the keys. With a `key_path` every backup is encrypted by the key
    in it: 32 bytes as base64 or hex text. A first backup creates that file. With `downloads` core
    admins may download backups without keys in clear, as they may read every record.
    """

    folder: str = ""
    every_hours: Annotated[float, Meta(ge=0.1, le=8760)] = 24.0
    keep: Annotated[int, Meta(ge=1, le=10_000)] = 7
    with_keys: bool = False
    verify_days: Annotated[float, Meta(ge=0, le=365)] = 7.0
    key_path: str = ""
    downloads: bool = True
