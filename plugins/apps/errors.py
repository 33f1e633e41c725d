"""Why a manifest is not edited."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from kernel.public import KernelError


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
