"""Why a manifest is not installed or edited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from kernel.public import BadRequest, KernelError


class ManifestChanged(KernelError):
    """The manifest is another one than the caller has read; the reply has the present one."""

    status: ClassVar[int] = 412

    def __init__(self, app_id: str, etag: str, manifest: bytes) -> None:
        super().__init__(f"the manifest of app '{app_id}' has changed since it was read")
        self.members = {"etag": etag, "manifest": msgspec.Raw(manifest)}


class ManagedByFiles(KernelError):
    """The app is deployed from a folder, where its manifest is changed."""

    status: ClassVar[int] = 409

    def __init__(self, app_id: str) -> None:
        super().__init__(
            f"the app '{app_id}' is deployed from a folder: change manifest.json there and run "
            f"`caudex app deploy`; or send PUT /api/v1/apps/{app_id}/manifest/source "
            '{"managedBy": null} to edit it here, and `caudex app pull` to take the edits over'
        )


class RowsOfField(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that prevent a change of a field: how many, and the ids of the first 20.

    `field` names several fields with commas between them where these are unique together.
    """

    entity: str
    field: str
    count: int
    ids: list[str]


class RowsInTheWay(BadRequest):
    """Rows prevent a change of the schema; the reply names them, so that they can be corrected."""

    def __init__(self, sentence: str, rows: Sequence[RowsOfField]) -> None:
        super().__init__(sentence)
        self.members = {"rows": list(rows)}
