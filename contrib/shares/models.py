"""Shares as the plugin knows them, and bodies and replies of its routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from kernel.public import Actor, Limits, LinkQuery, Record

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Context = Annotated[dict[str, Any], Meta(description="what the app wants to know of the share")]


class SharedRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one record that a share shows."""

    entity: str
    id: str


class NewShare(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """What a share shows: a `record`, a saved `view`, or what a `query` finds in an `entity`.

    `fields` names what is shown of each record; without it, the query or the view must. A share
    with a `context` alone shows no record: it is for public methods of the app.
    """

    record: SharedRecord | None = None
    view: str | None = None
    entity: str | None = None
    query: LinkQuery | None = None
    fields: list[str] | None = None
    context: Context = {}
    name: Name | None = None
    expires: Annotated[str | None, Meta(description="an RFC 3339 time")] = None


class PreparedShare(msgspec.Struct, frozen=True, kw_only=True):
    """A share that is about to be stored; without an `entity` it shows no record."""

    app_id: str
    name: str
    entity: str | None
    record_id: str | None
    query: LinkQuery
    context: dict[str, Any]
    expires: str


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """A share as it is stored. `limits` are those of the key that it was made with."""

    id: str
    app_id: str
    name: str
    entity: str | None
    record_id: str | None
    query: LinkQuery
    context: dict[str, Any]
    token_prefix: str
    user_id: str
    username: str
    limits: Limits | None
    created_at: str
    expires: str
    last_accessed_at: str | None
    access_count: int


class OpenedShare(msgspec.Struct, frozen=True):
    """A share that was opened, and its maker, whose rights it has."""

    share: Share
    maker: Actor


class ShownShare(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A share in the list of its app; its token was shown once."""

    id: str
    app_id: str
    name: str
    entity: str | None
    record_id: str | None
    query: Mapping[str, Any]
    context: Mapping[str, Any]
    token_prefix: str
    by: str
    created_at: str
    expires: str
    last_accessed_at: str | None
    access_count: int


class MadeShare(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new share. `token` is shown this once: the server keeps its hash."""

    id: str
    url: str
    token: str
    token_prefix: str
    name: str
    context: Mapping[str, Any]
    created_at: str
    expires: str
    revoked: bool = False


class ShareInfo(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a page of the app needs to know of the share that it was opened with."""

    app_id: str
    name: str
    context: Mapping[str, Any]
    expires: str


class SharedData(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a share shows: the fields that it names of each record, and `id`."""

    name: str
    fields: list[str]
    data: list[Record]


class PublicCall(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call of a method that the manifest's `public` names."""

    method: Annotated[str, Meta(min_length=1, max_length=200)]
    params: dict[str, Any] = {}


class PublicMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A method that shares may call; in `scope` are parameters that must be as in the context."""

    name: str
    scope: list[str] = []


class PublicSection(msgspec.Struct, frozen=True, kw_only=True):
    """The section `public` of a manifest."""

    rpcs: list[PublicMethod] = []
    page: str = "records"
