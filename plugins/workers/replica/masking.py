"""Hides secrets in what a worker sends, where that does not pass through the log.

The log masks its lines. It may be off, and knows the current secrets rather than those that the
worker was started with.
"""

from __future__ import annotations

from typing import Any, Final, cast

import msgspec

from kernel.public import Mask

from .protocol import MAX_LINE

_LARGE: Final = f"over {MAX_LINE // 2**20} MB"
_TOO_LARGE: Final = msgspec.Raw(msgspec.json.encode(_LARGE))


def mask_json(value: msgspec.Raw, mask: Mask) -> msgspec.Raw:
    """Return JSON with secrets hidden in texts that are written with escapes.

    In JSON without a backslash, and in a bare text, `Mask.hide` finds them later.
    """
    raw = bytes(value)
    if not mask or b"\\" not in raw or raw.lstrip().startswith(b'"'):
        return value
    if len(raw) > MAX_LINE:
        return _TOO_LARGE
    try:
        found = msgspec.json.decode(raw)
        hidden = _hide(found, mask)
        return value if hidden == found else msgspec.Raw(msgspec.json.encode(hidden))
    except (msgspec.DecodeError, RecursionError):
        return value


def mask_text(text: str, mask: Mask) -> str:
    """Return a text with secrets hidden; of a long text only its length remains."""
    return mask.hide(text) if len(text) <= MAX_LINE or not mask else _LARGE


def _hide(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask.hide(value)
    if isinstance(value, list):
        return [_hide(item, mask) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {mask.hide(key): _hide(member, mask) for key, member in members}
    return value
