"""Hides the secrets of a worker in what it writes, in one pass over each text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import msgspec
from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from plugins.workers.child.protocol import MAX_LINE

HIDDEN: Final = "[secret]"
WORD: Final = 4
"""A shorter value is hidden only where it is a word of its own: it is part of too many words."""
WORDS: Final = 32
"""Values that are looked for as words, each of which takes time; more are hidden anywhere."""
PIECE: Final = 64
"""Longer values are looked for in pieces. The search looks ahead by one pattern after each match,
so patterns of any length would take quadratic time."""
MAX_PATTERNS: Final = 500_000
"""Characters of all patterns: they take 0.2 s to compile and 30 MB. The shortest come first."""
_OVER_LIMIT: Final = f"over {MAX_LINE // 2**20} MB"
_MARK: Final = "\ud800"
"""Marks hidden text until the end of the search. It is a surrogate: no encoded text contains it."""


class Mask:
    """Hides values in texts.

    An attacker may choose both the values and the texts, to make the search slow. So its time is
    proportional to the length of the text (Aho, Corasick: Efficient string matching, 1975).
    """

    def __init__(self, values: Iterable[str]) -> None:
        by_length = sorted({value for value in values if value.strip()}, key=len)
        short = [value for value in reversed(by_length) if len(value) < WORD]
        words = "|".join(map(re.escape, short[:WORDS]))
        self._words: re.Pattern[str] | None = None
        if words:
            self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)")
        texts = [*short[WORDS:], *_split_values(by_length)]
        patterns = [text.encode(errors="surrogatepass") for text in texts]
        self._is_empty = not words and not patterns
        # Without `implementation` it may choose one that takes seconds for long values.
        self._search = BytesAhoCorasick(
            patterns, MatchKind.LeftmostLongest, Implementation.ContiguousNFA
        )

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return not self._is_empty

    def hide(self, text: str) -> str:
        """Return a text with the values hidden; cut it only afterwards, or half a value is left."""
        hidden = _mark_matches(self._search, text)
        if self._words is not None:
            hidden = self._words.sub(_MARK, hidden)
        if hidden is text:
            return text
        return re.sub(f"{_MARK}+", HIDDEN, hidden)


def _mark_matches(search: BytesAhoCorasick, text: str) -> str:
    """Put a mark in place of each match."""
    data = text.encode(errors="surrogatepass")
    matches = search.find_matches_as_indexes(data)
    if not matches:
        return text
    begins = [0, *(end for _, _, end in matches)]
    ends = [*(begin for _, begin, _ in matches), len(data)]
    between = [data[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return _MARK.encode(errors="surrogatepass").join(between).decode(errors="surrogatepass")


def _split_values(values: Iterable[str]) -> Iterator[str]:
    """Yield the pieces of the values and of their lines, since a long value is printed line by
    line."""
    seen = set[str]()
    size = 0
    for value in values:
        texts = dict.fromkeys([value, *value.splitlines()])
        for text in texts:
            for piece in _split(text):
                if len(piece) < WORD or piece in seen:
                    continue
                size += len(piece)
                if size > MAX_PATTERNS:
                    return
                seen.add(piece)
                yield piece


def _split(text: str) -> Iterator[str]:
    """Yield a text in pieces of about the same length, at most PIECE."""
    count = -(-len(text) // PIECE)
    for number in range(count):
        yield text[len(text) * number // count : len(text) * (number + 1) // count]


def mask_json(value: msgspec.Raw, mask: Mask) -> msgspec.Raw:
    """Return JSON with secrets hidden in texts that are written with escapes.

    In JSON without a backslash, and in a bare text, `Mask.hide` finds them later.
    """
    raw = bytes(value)
    if not mask or b"\\" not in raw or raw.lstrip().startswith(b'"'):
        return value
    if len(raw) > MAX_LINE:
        return msgspec.Raw(msgspec.json.encode(_OVER_LIMIT))
    try:
        decoded = msgspec.json.decode(raw)
        hidden = _hide_in_texts(decoded, mask)
        if hidden == decoded:
            return value
        return msgspec.Raw(msgspec.json.encode(hidden))
    except (msgspec.DecodeError, RecursionError):
        return value


def mask_text(text: str, mask: Mask) -> str:
    """Return a text with secrets hidden; of a long text only its length remains."""
    if not mask:
        return text
    if len(text) > MAX_LINE:
        return _OVER_LIMIT
    return mask.hide(text)


def _hide_in_texts(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask.hide(value)
    if isinstance(value, list):
        return [_hide_in_texts(item, mask) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {mask.hide(key): _hide_in_texts(member, mask) for key, member in members}
    return value
