"""Secrets do not stand in what a worker says, where that leaves by another way than the log.

The log masks what it gets; it may be off, and knows the secrets of now rather than those that a
worker was started with.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import msgspec

from kernel.public import Mask

from .protocol import MAX_LINE

_BETWEEN: Final = "\udfff"
"""Between texts that are searched together; no text that was ever encoded has it in it."""

_TOO_MANY: Final = msgspec.Raw(b'"texts that could not be searched for secrets in time"')
_LARGE: Final = f"over {MAX_LINE // 2**20} MB"
_TOO_LARGE: Final = msgspec.Raw(msgspec.json.encode(_LARGE))


def mask_json(value: msgspec.Raw, mask: Mask) -> msgspec.Raw:
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
        _gather(found, texts := [])
        # At once: each search takes its time, and whoever says many texts has chosen the secrets.
        hidden = mask.hide(said := _BETWEEN.join(texts))
        if hidden == said:
            return value
        shown = hidden.split(_BETWEEN)
        if len(shown) != len(texts):
            return _TOO_MANY
        return msgspec.Raw(msgspec.json.encode(_with_texts(found, iter(shown))))
    except (msgspec.DecodeError, RecursionError):
        return value


def mask_text(text: str, mask: Mask) -> str:
    """Return a text with secrets hidden, that of a long one says only how long it is."""
    return mask.hide(text) if len(text) <= MAX_LINE or not mask else _LARGE


def _gather(value: Any, texts: list[str]) -> None:
    if isinstance(value, str):
        texts.append(value)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            _gather(item, texts)
    elif isinstance(value, dict):
        for key, member in cast("dict[str, Any]", value).items():
            texts.append(key)
            _gather(member, texts)


def _with_texts(value: Any, texts: Iterator[str]) -> Any:
    """The same value with other texts, in the order of `_gather`."""
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, list):
        return [_with_texts(item, texts) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).values()
        return {next(texts): _with_texts(member, texts) for member in members}
    return value
