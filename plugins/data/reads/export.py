"""Records out: CSV for spreadsheets, JSON lines for programs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from kernel.public import preferred_type
from plugins.data.columns import Column

Format = Literal["csv", "ndjson"]
JSON: Final = "application/json"
MEDIA: Final[dict[str, Format]] = {"text/csv": "csv", "application/x-ndjson": "ndjson"}
MAX_REMEMBERED: Final = 200
"""Bytes of an `Accept` header that is remembered; those of browsers and libraries are shorter."""
FORMULA: Final = re.compile(r"'*[=+\-@\t\r]")
"""The beginning of a cell that a spreadsheet could run, or of one that was escaped before."""

_decode_values = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_any = msgspec.json.Decoder(dict[str, Any] | str).decode
_decode_files = msgspec.json.Decoder(list[dict[str, Any] | str]).decode
_encode = msgspec.json.Encoder().encode


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
    columns: Sequence[Column], batches: AsyncIterator[list[bytes]], *, raw: bool
) -> AsyncIterator[bytes]:
    """Write records as CSV (RFC 4180) with a header; `raw` leaves formulas as they are."""
    yield _write_lines([[column.name for column in columns]])
    async for batch in batches:
        yield _write_lines([write_cells(columns, record, raw=raw) for record in batch])


def write_cells(columns: Iterable[Column], record: bytes, *, raw: bool) -> list[str]:
    """Return the cells of a record: numbers, arrays and JSON as they are written."""
    values = _decode_values(record)
    return [_write_cell(column, bytes(values[column.name]), raw=raw) for column in columns]


def _write_cell(column: Column, value: bytes, *, raw: bool) -> str:
    if value == b"null":
        return ""
    if column.kind in ("number", "boolean", "json", "texts", "numbers"):
        return value.decode()
    if column.kind == "file":
        return _file_id(_decode_any(value))
    if column.kind == "files":
        return _encode([_file_id(file) for file in _decode_files(value)]).decode()
    text = _decode_text(value)
    may_be_run = column.kind == "text" and FORMULA.match(text) is not None
    if may_be_run and not raw:
        return f"'{text}"
    return text


def _file_id(file: dict[str, Any] | str) -> str:
    """Return the id of a managed file; without the plugin of files, records show no more."""
    return file if isinstance(file, str) else file["id"]


def _write_lines(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


async def ndjson_pieces(batches: AsyncIterator[list[bytes]]) -> AsyncIterator[bytes]:
    """Write records as one JSON object a line."""
    async for batch in batches:
        yield b"".join(record + b"\n" for record in batch)
