"""Secrets do not stand in what a worker says, where that leaves by another way than the log.

The log masks what it gets; it may be off, and knows the secrets of now rather than those that a
worker was started with.
"""

from __future__ import annotations

import time
from typing import Any, Final, cast

import msgspec

from kernel.public import Mask

from .protocol import MAX_LINE

SECONDS: Final = 0.2
"""Of processor time for all texts of a message: whoever says many has also chosen the secrets."""

_TOO_MANY: Final = msgspec.Raw(b'"texts that could not be searched for secrets in time"')
_TOO_LARGE: Final = msgspec.Raw(msgspec.json.encode(f"over {MAX_LINE // 2**20} MB"))


def hidden_within(value: msgspec.Raw, mask: Mask) -> msgspec.Raw:
    """Return JSON with secrets hidden in texts that look different there than they are.

    Without a backslash they look the same, and `Mask.hide` finds them when the JSON has become a
    text. So it does in a value that is a bare text.
    """
    raw = bytes(value)
    if not mask or b"\\" not in raw or raw.lstrip().startswith(b'"'):
        return value
    if len(raw) > MAX_LINE:
        return _TOO_LARGE
    try:
        found = msgspec.json.decode(raw)
        hidden = _hidden_in(found, mask, time.thread_time() + SECONDS)
        return value if hidden == found else msgspec.Raw(msgspec.json.encode(hidden))
    except (msgspec.DecodeError, RecursionError):
        return value
    except TimeoutError:
        return _TOO_MANY


def _hidden_in(value: Any, mask: Mask, end: float) -> Any:
    if isinstance(value, str):
        if time.thread_time() > end:
            raise TimeoutError
        return mask.hide(value)
    if isinstance(value, list):
        return [_hidden_in(item, mask, end) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {
            _hidden_in(key, mask, end): _hidden_in(member, mask, end)
            for key, member in members.items()
        }
    return value
