"""Bodies of imports: raw, or the first file of a form; and what the request says about them."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import IO, Final, Literal, cast

import msgspec
from anyio import to_thread

from kernel.public import (
    FORM_FRAME,
    MAX_BODY,
    BadRequest,
    ConcurrencyLimiter,
    FileDialect,
    FormLimits,
    FormPart,
    FormReader,
    ImportOptions,
    Request,
    one_of,
    read_pieces,
    whole_number,
)
from plugins.data.handlers import check_parameters, header_of, read_flag
from plugins.data.models import MAX_PREVIEW
from plugins.data.reads.export import Format

PARAMETERS: Final = (
    "dryRun", "on", "mode", "raw", "preview", "create", "charset", "delimiter", "decimal", "dates",
    "null",
)  # fmt: skip
MEDIA: Final[Mapping[str, Format]] = {
    "text/csv": "csv",
    "text/tab-separated-values": "csv",
    "application/x-ndjson": "ndjson",
}
FORM: Final = "multipart/form-data"
MAX_NULL: Final = 100
"""Characters of the text that means no value."""

_TAB_SEPARATED: Final = "text/tab-separated-values"
_DELIMITERS: Final = {
    ",": ",", "comma": ",", ";": ";", "semicolon": ";", "\t": "\t", "tab": "\t", "|": "|",
    "pipe": "|",
}  # fmt: skip
_CHARSETS: Final = {
    "utf-8": "utf-8", "utf8": "utf-8", "utf-8-sig": "utf-8", "us-ascii": "utf-8",
    "utf-16": "utf-16", "utf16": "utf-16", "utf-16le": "utf-16le", "utf-16be": "utf-16be",
    "latin-1": "latin-1", "latin1": "latin-1", "iso-8859-1": "latin-1", "windows-1252": "latin-1",
    "cp1252": "latin-1",
}  # fmt: skip
_ENDINGS: Final = {
    ".csv": "text/csv",
    ".tsv": _TAB_SEPARATED,
    ".tab": _TAB_SEPARATED,
    ".ndjson": "application/x-ndjson",
    ".jsonl": "application/x-ndjson",
}
"""Media types by the end of a file's name: browsers say what the desktop has registered."""

_CHARSET: Final = re.compile(r"charset\s*=\s*\"?([\w-]+)")


class ReceivedFile(msgspec.Struct, frozen=True):
    """A file that was received whole, with its digest and its media type."""

    file: IO[bytes]
    digest: bytes
    content_type: str


class ImportBodies:
    """Keeps the files of imports on disk while these wait, within a share for each user."""

    def __init__(self) -> None:
        self._places = ConcurrencyLimiter(
            20 * MAX_BODY, per_key=10 * MAX_BODY, message="too many files wait to be imported",
            key_message="too many files of this user wait to be imported", retry_after=10,
        )  # fmt: skip

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncGenerator[ReceivedFile]:
        """Keep the file of a request, and yield it. Raises BadRequest."""
        user = request.actor.user_id
        size = 0
        digest = hashlib.sha256()
        content_type = header_of(request, b"content-type") or ""
        is_form = content_type.lower().startswith(FORM)
        if not is_form:
            read_options(request, content_type)  # a wrong one is refused before the body is read
        with tempfile.SpooledTemporaryFile(1_000_000) as file:
            try:
                pieces = read_pieces(request, MAX_BODY + FORM_FRAME if is_form else MAX_BODY)
                if is_form:
                    form = FormReader(content_type, pieces, FormLimits())
                    part = await _find_file(form)
                    content_type = _type_of(part)
                    pieces = _read_to_end(form, part)
                async for piece in pieces:
                    self._places.take(user, len(piece))
                    size += len(piece)
                    digest.update(piece)
                    await to_thread.run_sync(file.write, piece)
                yield ReceivedFile(cast("IO[bytes]", file), digest.digest(), content_type)
            finally:
                self._places.give_back(user, size)


async def _find_file(form: FormReader) -> FormPart:
    """Return the first part of a form that is a file."""
    async for part in form:
        if part.file_name is not None:
            return part
    raise BadRequest("the form has no part with a file")


async def _read_to_end(form: FormReader, part: FormPart) -> AsyncIterator[bytes]:
    """Yield the pieces of a part; its end counts only if the form has one as well."""
    async for piece in part:
        yield piece
    async for _ in form:
        pass


def _type_of(part: FormPart) -> str:
    """Return the media type of a part, by the end of its name where that says it."""
    name = (part.file_name or "").lower()
    for ending, media_type in _ENDINGS.items():
        if name.endswith(ending):
            charset = _CHARSET.search(part.media_type.lower())
            return media_type if charset is None else f"{media_type}; {charset[0]}"
    return part.media_type


def read_options(request: Request, content_type: str) -> ImportOptions:
    """Read how a file is imported. Raises BadRequest."""
    parameters = request.query()
    check_parameters(parameters, PARAMETERS)
    media_type, _, type_parameters = content_type.lower().partition(";")
    file_format = MEDIA.get(media_type.strip())
    if file_format is None:
        raise BadRequest(f"the content type must be one of {', '.join((*MEDIA, FORM))}")
    mode = one_of("mode", parameters.get("mode", "all"), ("all", "valid"))
    if "create" in parameters:
        one_of("create", parameters["create"], ("ids",))
    charset = _read_charset(parameters, type_parameters)
    if file_format == "ndjson" and charset != "utf-8":
        raise BadRequest("charset: JSON lines are in UTF-8")
    dialect = _read_dialect(parameters, charset)
    if dialect.delimiter is None and media_type.strip() == _TAB_SEPARATED:
        dialect = msgspec.structs.replace(dialect, delimiter="\t")
    return ImportOptions(
        file_format=file_format,
        dialect=dialect,
        create_ids="create" in parameters,
        mode=cast("Literal['all', 'valid']", mode),
        on=parameters.get("on"),
        dry_run=read_flag(parameters, "dryRun"),
        raw=read_flag(parameters, "raw"),
        preview=whole_number("preview", parameters.get("preview", "0"), maximum=MAX_PREVIEW),
    )


def _read_charset(parameters: Mapping[str, str], type_parameters: str) -> str:
    """Read the charset: a parameter of the address comes before one of the content type."""
    declared = _CHARSET.search(type_parameters)
    name = "utf-8" if declared is None else declared[1]
    name = parameters.get("charset", name).lower()
    return _CHARSETS[one_of("charset", name, tuple(_CHARSETS))]


def _read_dialect(parameters: Mapping[str, str], charset: str) -> FileDialect:
    """Read how the cells of a file are written. Raises BadRequest."""
    values: dict[str, str] = {"charset": charset}
    if "delimiter" in parameters:
        name = one_of("delimiter", parameters["delimiter"].lower(), tuple(_DELIMITERS))
        values["delimiter"] = _DELIMITERS[name]
    if "decimal" in parameters:
        values["decimal"] = one_of("decimal", parameters["decimal"], (".", ","))
    if "dates" in parameters:
        values["dates"] = one_of("dates", parameters["dates"], ("iso", "dmy", "mdy"))
    if "null" in parameters:
        if len(parameters["null"]) > MAX_NULL:
            raise BadRequest(f"null has at most {MAX_NULL} characters")
        values["null"] = parameters["null"]
    return msgspec.convert(values, FileDialect)
