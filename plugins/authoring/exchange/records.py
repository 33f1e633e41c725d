"""`caudex data import` and `caudex data export`: records as CSV or JSON lines, in a stream."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import click
import httpx
import msgspec

from kernel.public import BadRequest
from plugins.authoring.errors import ServerRefused
from plugins.authoring.output import Advance, Output
from plugins.authoring.project.folder import app_of, look_for_project
from plugins.authoring.server.access import open_server
from plugins.authoring.server.connection import ServerConnection

TYPES: Final = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
SUFFIXES: Final = {".ndjson": "ndjson", ".jsonl": "ndjson"}
PIECE: Final = 64 * 1024
SHOWN_ERRORS: Final = 20
IMPORT_TIMEOUT: Final = httpx.Timeout(300, connect=5)
"""An import may wait for two minutes and take two."""
STDIO: Final = "-"


class Import(msgspec.Struct, frozen=True, kw_only=True):
    """What `caudex data import` is asked to do."""

    entity: str
    file: str
    url: str | None
    app: str | None
    form: str | None
    on: str | None
    dry_run: bool
    mode: str
    raw: bool

    def query(self) -> dict[str, str]:
        """Return the parameters of the request."""
        query = {"mode": self.mode}
        if self.on is not None:
            query["on"] = self.on
        if self.dry_run:
            query["dryRun"] = "true"
        if self.raw:
            query["raw"] = "true"
        return query


class Export(msgspec.Struct, frozen=True, kw_only=True):
    """What `caudex data export` is asked to do."""

    entity: str
    file: str
    url: str | None
    app: str | None
    form: str | None
    fields: str | None
    where: str | None
    raw: bool


async def load(output: Output, **options: Any) -> int:
    """Send a file of records, and report on its rows."""
    order = Import(**options)
    path = f"/api/v1/apps/{app_of(order.app)}/collections/{order.entity}/import"
    form = _form_of(order.file, order.form)
    async with open_server(order.url, _root()) as server:
        with _source(order.file) as stream:
            report = await _upload(output, server, stream, path, order.query(), form)
    _show_report(output, report, order.dry_run)
    output.result(report)
    is_refused = bool(report["errors"]) and order.mode == "all"
    return int(is_refused)


async def _upload(
    output: Output,
    server: ServerConnection,
    stream: BinaryIO,
    path: str,
    query: dict[str, str],
    form: str,
) -> Any:
    headers = {"content-type": TYPES[form]}
    size = _size_of(stream)
    if size is not None:
        headers["content-length"] = str(size)
    with output.progress("import", size or 0) as advance:
        body = _pieces(stream, advance)
        try:
            return await server.upload(path, body, headers, params=query, timeout=IMPORT_TIMEOUT)
        except ServerRefused as refusal:
            if "rows" not in refusal.members:
                raise
            return {**refusal.members, "error": refusal.message}


def _show_report(output: Output, report: dict[str, Any], dry_run: bool) -> None:
    errors = report["errors"]
    for error in errors[:SHOWN_ERRORS]:
        output.say(f"row {error['row']}: {error['error']}")
    if len(errors) > SHOWN_ERRORS:
        output.say(f"and {len(errors) - SHOWN_ERRORS} more")
    verb = "would be" if dry_run else "were"
    output.say(
        f"{report['rows']} rows: {report['created']} {verb} created, {report['updated']} {verb} "
        f"updated, {len(errors)} have errors"
    )


async def save(output: Output, **options: Any) -> int:
    """Write records to a file, which is replaced in one step, or to standard output."""
    order = Export(**options)
    if order.file == STDIO and output.as_json:
        raise click.UsageError("--json needs the name of a file")
    path = f"/api/v1/apps/{app_of(order.app)}/collections/{order.entity}/query"
    query = _query(order.fields, order.where)
    request: dict[str, Any] = {
        "headers": {"accept": TYPES[_form_of(order.file, order.form)]},
        "params": {"raw": "true"} if order.raw else {},
    }
    async with open_server(order.url, _root()) as server:
        total = 0
        if sys.stderr.isatty():
            counted = await server.post(path, {**query, "fields": [], "limit": 1})
            total = counted["total"]
        with output.progress("export", total) as advance, _target(order.file) as stream:
            async with server.stream("POST", path, json=query, **request) as answer:
                size = await _copy(answer, stream, advance)
    if order.file != STDIO:
        output.say(f"wrote {order.file}, {size} bytes")
        output.result({"file": order.file, "bytes": size})
    return 0


def _query(fields: str | None, where: str | None) -> dict[str, Any]:
    query: dict[str, Any] = {}
    if fields is not None:
        query["fields"] = [name.strip() for name in fields.split(",") if name.strip()]
    if where is not None:
        try:
            query["where"] = json.loads(where)
        except ValueError as error:
            raise click.UsageError(f"--where is no JSON: {error}") from None
    return query


async def _copy(answer: httpx.Response, stream: BinaryIO, advance: Advance) -> int:
    size = 0
    async for piece in answer.aiter_bytes():
        stream.write(piece)
        size += len(piece)
        advance(piece.count(b"\n"))
    return size


def _form_of(file: str, form: str | None) -> str:
    if form is not None:
        return form
    return SUFFIXES.get(Path(file).suffix.lower(), "csv")


def _root() -> Path | None:
    project = look_for_project()
    return project.root if project is not None else None


@contextmanager
def _source(file: str) -> Generator[BinaryIO]:
    if file == STDIO:
        yield sys.stdin.buffer
        return
    try:
        with open(file, "rb") as stream:
            yield stream
    except OSError as error:
        raise BadRequest(f"{file}: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def _target(file: str) -> Generator[BinaryIO]:
    """Write beside the file, and rename at the end: a broken export leaves the former file."""
    if file == STDIO:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(file)
    try:
        handle, name = tempfile.mkstemp(prefix=f".new-{path.name}.", dir=path.parent)
    except OSError as error:
        raise BadRequest(f"{file}: {(error.strerror or str(error)).lower()}") from None
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            yield stream
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _size_of(stream: BinaryIO) -> int | None:
    """Return the size of a plain file; a pipe has none."""
    if not stream.seekable():
        return None
    return stream.seek(0, os.SEEK_END)


def _pieces(stream: BinaryIO, advance: Advance) -> Callable[[], AsyncIterator[bytes]]:
    """Return what makes the body, from the beginning of a plain file each time."""

    async def body() -> AsyncIterator[bytes]:
        if stream.seekable():
            stream.seek(0)
        while piece := stream.read(PIECE):
            yield piece
            advance(len(piece))

    return body
