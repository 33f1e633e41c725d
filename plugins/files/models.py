"""Files as the plugin knows them, and bodies and replies of its routes."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from kernel.public import Limits


class StoredFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an app; without `sha256` its content was erased."""

    id: str
    sha256: str | None
    name: str
    type: str
    size: int
    uploader_id: str | None
    of_app: bool
    held: bool
    created_at: str


class Holding(msgspec.Struct, frozen=True, array_like=True):
    """A field of a record that holds a file."""

    entity: str
    field: str
    record_id: str


class HeldFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file, with some of the fields that hold it."""

    file: StoredFile
    holdings: list[Holding]


class NewFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file whose content is in the store."""

    app_id: str
    sha256: str
    name: str
    type: str
    size: int
    of_app: bool = False


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What a user uploaded and no record has held; `oldest` is the age of the first, in seconds."""

    files: int
    size: int
    oldest: float


class ManagedField(msgspec.Struct, frozen=True, kw_only=True):
    """A field of managed files as the triggers know it."""

    entity: str
    field: str
    is_list: bool
    max_size: int | None = None
    types: tuple[str, ...] = ()


class UploadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of POST …/files."""

    name: Annotated[str, Meta(description="the name of the file; of a part, its own")] = "file"


class DownloadQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters of GET …/files/{id}."""

    download: Annotated[bool, Meta(description="asks the browser to save the file")] = False
    thumb: Annotated[
        str | None, Meta(description="a small picture of an image, at most `<width>x<height>`")
    ] = None


class LinkQuery(DownloadQuery, frozen=True, kw_only=True):
    """Parameters of GET …/files/{id}/link."""

    token: Annotated[str, Meta(description="what signs the link")] = ""


class Uploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The reply to an upload; `type` is what the content is, whatever was sent."""

    id: str
    name: str
    type: str
    size: int
    sha256: str
    created_at: str


class StorageUploaded(msgspec.Struct, frozen=True, kw_only=True):
    """The reply of POST …/storage/upload."""

    file_id: str
    name: str
    content_type: str
    size: int


class Deleted(msgspec.Struct, frozen=True):
    """The reply of DELETE …/storage/{file_id}."""

    deleted: bool


class LinkBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For how many seconds a link is good: at most 7 days."""

    seconds: int = 60


class Link(msgspec.Struct, frozen=True):
    """An address that works without a token."""

    url: str


class LinkClaims(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a link says: the file, who made the link, and when it ends, in seconds since 1970.

    Of limits with a key only its id is there.
    """

    app: str
    file: str
    user: str
    name: str
    exp: int
    limits: Limits | None = None
