"""Values of a worker's SQL, as PostgreSQL reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from kernel.public import BadRequest


def write_values(values: Sequence[Any]) -> list[str | None]:
    """Return JSON values as texts of whatever types their places have. Raises BadRequest."""
    texts = [_write(value) for value in values]
    if any(text is not None and "\0" in text for text in texts):
        raise BadRequest("sql: text must not contain the character U+0000")
    return texts


def _write(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return "{" + ",".join(map(_write_item, items)) + "}"
    return msgspec.json.encode(value).decode()


def _write_item(item: Any) -> str:
    if isinstance(item, list):
        return _write(cast("list[Any]", item)) or ""
    text = _write(item)
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
