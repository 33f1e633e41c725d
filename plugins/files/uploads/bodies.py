"""Bodies of uploads: the bytes of a file, or a form with a part that has them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import msgspec

from kernel.public import (
    FORM_FRAME,
    BadRequest,
    FormLimits,
    FormPart,
    FormReader,
    Request,
    read_pieces,
)

PART: Final = "file"


class Incoming(msgspec.Struct, frozen=True):
    """A file on its way: what its sender calls it, and its bytes as they arrive."""

    name: str
    pieces: AsyncIterator[bytes]


async def open_body(request: Request, name: str, limit: int) -> Incoming:
    """Return the file that a request brings; `name` is the one in its address.

    Raises BadRequest for a form without a file.
    """
    content_type = request.headers.get("content-type")
    is_form = (content_type or "").lower().startswith("multipart/form-data")
    if not is_form:
        return Incoming(name, read_pieces(request, limit))
    form = FormReader(content_type, read_pieces(request, limit + FORM_FRAME), FormLimits())
    async for part in form:
        if part.name == PART or part.file_name is not None:
            return Incoming(name or part.file_name or "", _read_to_end(form, part))
    raise BadRequest(f"the form has no part {PART!r}")


async def _read_to_end(form: FormReader, part: FormPart) -> AsyncGenerator[bytes]:
    """Yield the pieces of a part; its end counts only if the form has one as well."""
    async for piece in part:
        yield piece
    async for _ in form:
        pass
