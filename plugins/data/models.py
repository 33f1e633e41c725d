"""What a query is as it comes over HTTP, and what small look-ups return."""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class QueryBody(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"
):
    """The body of POST …/query; `None` is the same as leaving a member out."""

    where: dict[str, Any] | None = None
    order_by: str | None = None
    order: Literal["asc", "desc"] | None = None
    limit: int | None = None
    offset: int | None = None
    after: str | None = None
    total: bool = True


class LastSeen(msgspec.Struct, frozen=True, kw_only=True):
    """Where the last record seen stands: its id and its value of the sorted field, as text."""

    record_id: str
    value: str | None
