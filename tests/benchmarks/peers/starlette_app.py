"""What is compared with uploads and downloads: Starlette alone, on the same disk."""

from __future__ import annotations

import os
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse
from starlette.routing import Route

FOLDER = Path(os.environ["PEER_FOLDER"])
UPLOADED = FOLDER / "uploaded"


async def upload(request: Request) -> JSONResponse:
    """Write a body to the disk, and wait until it is there."""
    size = 0
    async with await anyio.open_file(UPLOADED, "wb") as file:
        async for piece in request.stream():
            await file.write(piece)
            size += len(piece)
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    return JSONResponse({"size": size}, 201)


async def download(request: Request) -> FileResponse:
    """Send what was uploaded last."""
    return FileResponse(UPLOADED)


async def health(request: Request) -> PlainTextResponse:
    """Say that the server is up."""
    return PlainTextResponse("ok")


app = Starlette(
    routes=[
        Route("/upload", upload, methods=["POST"]),
        Route("/download", download),
        Route("/health", health),
    ]
)
