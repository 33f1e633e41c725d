"""Receives files of rows, and reads them beside other requests."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import msgspec
from anyio import to_thread

from kernel.public import (
    BadRequest,
    ConcurrencyLimiter,
    FormLimits,
    FormReader,
    Request,
    Sheet,
    SheetBudget,
    as_rows,
    clean_name,
    decode,
    headers_of,
    one_of,
    read_body,
    read_pieces,
    read_rows,
    read_sheet,
)

from .models import Proposal, Rows
from .proposal import DayOrder, propose

ORDERS: Final[tuple[DayOrder, ...]] = ("dmy", "mdy")
MAX_FILES: Final = 20
MAX_UPLOAD: Final = 100_000_000
"""Bytes of all files together; of larger ones the first part says enough."""
MAX_ROWS: Final = 10_000_000
"""Bytes of rows in JSON."""

_rows: Final = msgspec.json.Decoder(Rows)


class Proposals:
    """Reads files one request at a time: that takes processor time beside all other requests."""

    def __init__(self) -> None:
        self._reads = ConcurrencyLimiter(
            1, queue=20, message="too many files are being read", retry_after=5
        )

    async def propose(self, request: Request) -> Proposal:
        """Return the app that the rows of a request become. Raises BadRequest, TooLarge."""
        content_type = (headers_of(request.scope).get(b"content-type") or b"").decode("latin-1")
        if content_type.lower().startswith("multipart/form-data"):
            return await self._read_form(request, content_type)
        rows: Rows = decode(await read_body(request, MAX_ROWS), _rows)

        def read() -> Proposal:
            budget = SheetBudget()
            sheets = [
                read_rows(as_rows(items, f"tables.{name}"), name, _entity_of(name), budget)
                for name, items in rows.tables.items()
            ]
            return propose(rows.name, rows.app_id, sheets, rows.dates)

        return await self._run(read)

    async def _read_form(self, request: Request, content_type: str) -> Proposal:
        texts: dict[str, str] = {}
        with tempfile.TemporaryDirectory() as folder:
            pieces = read_pieces(request, MAX_UPLOAD)
            files = await _save_files(content_type, pieces, Path(folder), texts)

            def read() -> Proposal:
                name = texts.get("name") or Path(files[0][0]).stem
                sheets = _read_sheets(files)
                return propose(name, texts.get("appId"), sheets, _read_order(texts))

            return await self._run(read)

    async def _run(self, read: Callable[[], Proposal]) -> Proposal:
        async with self._reads.hold():
            return await to_thread.run_sync(read)


async def _save_files(
    content_type: str, pieces: AsyncIterator[bytes], folder: Path, texts: dict[str, str]
) -> list[tuple[str, Path]]:
    """Save the files of a form, and note its texts. Raises BadRequest."""
    files: list[tuple[str, Path]] = []
    async for part in FormReader(content_type, pieces, FormLimits(parts=MAX_FILES + 2)):
        if part.file_name is None:
            texts[part.name] = await part.read_text()
            continue
        if len(files) >= MAX_FILES:
            raise BadRequest(f"at most {MAX_FILES} files are read together")
        target = folder / str(len(files))
        await part.save(target)
        files.append((Path(part.file_name).name, target))
    if not files:
        raise BadRequest("the form has no file: name files of CSV or lines of JSON")
    return files


def _read_sheets(files: Sequence[tuple[str, Path]]) -> list[Sheet]:
    budget = SheetBudget()
    sheets: list[Sheet] = []
    for name, path in files:
        with path.open("rb") as stream:
            sheets.append(read_sheet(stream, name, budget))
    return sheets


def _read_order(texts: Mapping[str, str]) -> DayOrder | None:
    """Return how open dates are read. Raises BadRequest."""
    if "dates" not in texts:
        return None
    return cast("DayOrder", one_of("dates", texts["dates"], ORDERS))


def _entity_of(name: str) -> str:
    """Return the entity of a table of JSON. Raises BadRequest."""
    entity = clean_name(name)
    if not entity:
        raise BadRequest(f"tables: {name[:80]!r} gives no name for an entity")
    return entity
