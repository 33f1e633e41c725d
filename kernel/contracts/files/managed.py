"""Managed files: what fields of type `file` and `[file]` hold, if they say what they take."""

from __future__ import annotations

from typing import Final, Protocol

from kernel.contracts.base import ServiceKey

__all__ = ["FILES", "FILE_SIZE_RULE", "FILE_TYPE_RULE", "ManagedFiles"]

FILE_SIZE_RULE: Final = "caudex_file_size"
"""Names the rule in the `ConstraintViolation` of a file that is larger than its field takes."""
FILE_TYPE_RULE: Final = "caudex_file_type"
"""The same for a file of a type that its field does not take."""


class ManagedFiles(Protocol):
    """The tables of managed files, for the statements of RECORDS.

    The provider keeps them as records hold files: by triggers on the tables of apps, in the
    transaction of each write. A value that is no file of the app is a `ConstraintViolation` of a
    foreign key. It names the field as its column.
    """

    def relation(self) -> tuple[str, str]:
        """Schema and table of the files.

        It has the columns `id` (uuid), `app_id`, `name`, `type` (text), `size` (bigint),
        `uploader_id` (uuid), and `of_app` (boolean): the app itself holds the file.
        """
        ...

    def holdings(self) -> tuple[str, str]:
        """Schema and table of the fields that hold files, or held them lately.

        It has the columns `file_id` (uuid), `entity`, `field`, `record_id` (text) and `ended_at`
        (timestamptz), which is null while the field holds the file.
        """
        ...


FILES = ServiceKey[ManagedFiles]("files")
