"""What became of the rows of an upsert, or what would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from kernel.public import BadRequest, Tagged
from plugins.data.values.rows import Row

from .meetings import MetRecord

Result = Literal["created", "updated", "ignored"]


class Outcome(msgspec.Struct, frozen=True):
    """What became of a row; `sent_fields` are those that its sender knows.

    Of an `updated` record `is_unchanged` says that it had the values of the row already.
    """

    result: Result
    record: Tagged
    sent_fields: tuple[str, ...]
    is_unchanged: bool = False


class ShownOutcome(msgspec.Struct, frozen=True):
    """What became of a row, with what its sender may see of the record."""

    result: Result
    shown: Tagged
    is_unchanged: bool


class Applied(msgspec.Struct, frozen=True):
    """What rows have done, by their places: records created, met, and of the latter changed."""

    created: Mapping[int, Outcome]
    met: Mapping[int, MetRecord]
    changed: Mapping[int, Tagged]

    @property
    def unchanged(self) -> Mapping[int, MetRecord]:
        """The records that were met and not changed."""
        return {place: met for place, met in self.met.items() if place not in self.changed}


class Judged(msgspec.Struct, frozen=True):
    """What rows would do, by their places: what is wrong, and what would change.

    `changes` are the values that the record which a row meets does not have, if there are any.
    """

    problems: Mapping[int, BadRequest]
    changes: Mapping[int, Row]
