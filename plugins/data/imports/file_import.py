"""A file that is imported, with what its sender may do."""

from __future__ import annotations

from typing import IO

import msgspec

from kernel.public import Grant, ImportOptions
from plugins.data.rights.row_scope import LinkLimits
from plugins.data.statements.entity_table import Table
from plugins.data.upserts.plan import UpsertPlan

from .link_keys import LinkTargets


class FileImport(msgspec.Struct, frozen=True):
    """A file that is imported; with an upsert plan its rows may meet records.

    `links` are the limits of what the caller may link to, `targets` what a link may name by a key.
    """

    file: IO[bytes]
    options: ImportOptions
    grant: Grant
    table: Table
    upsert: UpsertPlan | None
    links: LinkLimits | None
    targets: LinkTargets
