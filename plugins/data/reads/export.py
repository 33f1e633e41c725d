"""Records out: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from functools import lru_cache
from typing import Final, Literal

from kernel.public import preferred_type
from plugins.data.columns.column import Column
from plugins.data.rendering import TOO_LARGE, check_readable

Format = Literal["csv", "ndjson"]
JSON: Final = "application/json"
MEDIA: Final[dict[str, Format]] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
MAX_REMEMBERED: Final = 200
"""Bytes of an `Accept` header that is remembered; those of browsers and libraries are shorter."""
FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that a spreadsheet could run, or of one that was escaped before.

`statements.csv_lines` has it in SQL.
"""

LINE_END: Final = b"\r\n"


def choose_format(accept: bytes | None) -> Format | None:
    """Return the format that an `Accept` header prefers, or None for JSON."""
    if accept is None or accept in (b"*/*", b"application/json"):  # nearly every request
        return None
    if len(accept) > MAX_REMEMBERED:
        return _find_preferred(accept)
    return _find_remembered(accept)


def _find_preferred(accept: bytes) -> Format | None:
    media_type = preferred_type(accept.decode("latin-1"), (JSON, *MEDIA))
    return None if media_type is None else MEDIA.get(media_type)


_find_remembered: Final = lru_cache(maxsize=100)(_find_preferred)
"""Browsers and libraries send few headers, and to read one takes 20 µs."""


async def csv_pieces(
    columns: Sequence[Column], batches: AsyncIterator[list[bytes]]
) -> AsyncIterator[bytes]:
    """Write lines of CSV (RFC 4180) below a header. Raises BadRequest for a line too large."""
    yield ",".join(column.name for column in columns).encode() + LINE_END
    async for lines in batches:
        if TOO_LARGE in lines:
            check_readable(TOO_LARGE, None)
        yield LINE_END.join(lines) + LINE_END


async def ndjson_pieces(batches: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    """Write records as one JSON object a line."""
    async for batch in batches:
        yield b"".join(record + b"\n" for record in batch)
