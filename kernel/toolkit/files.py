"""Files that survive a crash."""

from __future__ import annotations

import os
import posixpath
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.staticfiles import StaticFiles

from kernel.contracts.access import PUBLIC, Needs
from kernel.contracts.server import Route
from kernel.errors import BootError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


def write_file(file: Path, content: bytes, *, replace: bool = True) -> None:
    """Write a file in one step (rename(2)), readable for its owner only. Raises OSError.

    A crash leaves the old content or the new one, and perhaps a file `.new-…` beside it. On return
    the new one is on the disk. Unless `replace`, a file that exists is kept.
    """
    handle, name = tempfile.mkstemp(prefix=f".new-{file.name}.", dir=file.parent)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        if replace:
            aside.replace(file)
        else:
            with suppress(FileExistsError):
                os.link(aside, file)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk (fsync(2)), to survive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def files_route(prefix: str, folder: Path, needs: Needs = PUBLIC) -> Route:
    """Serve the files below `folder` at `prefix/{path*}`; `index.html` answers for its folder.

    Replies have an ETag, and 304 where the client has the file. Paths that lead out of the folder
    are 404, also by symbolic links. Raises BootError for a folder that does not exist.
    """
    if not folder.is_dir():
        raise BootError(str(folder), "there is no such folder", "create it, or correct the path")
    files = StaticFiles(directory=folder, html=True)

    async def send(request: Request) -> Response:
        """Send a file."""
        path = posixpath.normpath(request.path_params["path"] or ".")
        response = await files.get_response(path, request.scope)
        response.headers.setdefault("cache-control", "no-cache")
        return response

    content = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    openapi = {"responses": {"200": {"description": "The file.", "content": content},
                             "304": {"description": "The client has it."}}}  # fmt: skip
    return Route("GET", f"{prefix}/{{path*}}", send, needs, errors=(404,), openapi=openapi)
