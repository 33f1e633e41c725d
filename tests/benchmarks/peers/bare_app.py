"""An application that does nothing: it answers a path with the bytes of the file of that name."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(os.environ["PEER_BODIES"])
known: dict[str, bytes] = {}


async def app(scope, receive, send) -> None:
    """Answer one request."""
    name = scope["path"][1:]
    if name not in known:
        known[name] = (FOLDER / name).read_bytes()
    body = known[name]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
