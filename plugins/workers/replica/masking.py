"""Hides the secrets of a worker in what it writes, in one pass over each text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, cast

import msgspec
from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from .protocol import MAX_LINE

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
        whole = sorted({value for value in values if value.strip()}, key=len)
        short = [value for value in reversed(whole) if len(value) < WORD]
        words = "|".join(map(re.escape, short[:WORDS]))
        self._words = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else None
        texts = [*short[WORDS:], *_pieces(whole)]
        patterns = [text.encode(errors="surrogatepass") for text in texts]
        self._empty = not (words or patterns)
        # Without `implementation` it may choose one that takes seconds for long values.
        kind, implementation = MatchKind.LeftmostLongest, Implementation.ContiguousNFA
        self._search = BytesAhoCorasick(patterns, kind, implementation)

    def __bool__(self) -> bool:
        """Whether there is anything to hide."""
        return not self._empty

    def hide(self, text: str) -> str:
        """Return a text with the values hidden; cut it only afterwards, or half a value is left."""
        hidden = _hide(self._search, text)
        if self._words is not None:
            hidden = self._words.sub(_MARK, hidden)
        return hidden if hidden is text else re.sub(f"{_MARK}+", HIDDEN, hidden)


def _hide(search: BytesAhoCorasick, text: str) -> str:
    data = text.encode(errors="surrogatepass")
    if not (found := search.find_matches_as_indexes(data)):
        return text
    begins = [0, *(end for _, _, end in found)]
    ends = [*(begin for _, begin, _ in found), len(data)]
    kept = [data[begin:end] for begin, end in zip(begins, ends, strict=True)]
    return _MARK.encode(errors="surrogatepass").join(kept).decode(errors="surrogatepass")


def _pieces(values: Iterable[str]) -> Iterator[str]:
    """The pieces of the values and of their lines, since a long value is printed line by line."""
    seen, size = set[str](), 0
    for value in values:
        for text in {value: None, **dict.fromkeys(value.splitlines())}:
            pieces = -(-len(text) // PIECE)
            for n in range(pieces):
                piece = text[len(text) * n // pieces : len(text) * (n + 1) // pieces]
                if len(piece) >= WORD and piece not in seen:
                    if (size := size + len(piece)) > MAX_PATTERNS:
                        return
                    seen.add(piece)
                    yield piece


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
        found = msgspec.json.decode(raw)
        hidden = _hide_within(found, mask)
        return value if hidden == found else msgspec.Raw(msgspec.json.encode(hidden))
    except (msgspec.DecodeError, RecursionError):
        return value


def mask_text(text: str, mask: Mask) -> str:
    """Return a text with secrets hidden; of a long text only its length remains."""
    if not mask:
        return text
    return mask.hide(text) if len(text) <= MAX_LINE else _OVER_LIMIT


def _hide_within(value: Any, mask: Mask) -> Any:
    if isinstance(value, str):
        return mask.hide(value)
    if isinstance(value, list):
        return [_hide_within(item, mask) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value).items()
        return {mask.hide(key): _hide_within(member, mask) for key, member in members}
    return value
