"""What the audit plugin passes around."""

from __future__ import annotations

from datetime import date

import msgspec

ROW_OPERATIONS = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
"""What the triggers record; system events bring operations of their own (`LOGIN`)."""

MAX_PAGE_BYTES = 32_000_000
"""A page of the trail ends early when its rows are this large: a row holds two whole records."""


class Months(msgspec.Struct, frozen=True, kw_only=True):
    """Which months, by their first day, want a partition and which have had theirs long enough.

    `taken` are months that cannot get one, because the default partition holds rows of theirs.
    """

    missing: list[date] = []
    taken: list[date] = []
    expired: list[date] = []
