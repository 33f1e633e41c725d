"""What is sent of a script or style: what only readers of the source need is left out."""

from __future__ import annotations

import gzip
import re
from functools import cache
from pathlib import PurePosixPath
from types import ModuleType
from typing import Final

SHORTENED: Final = {".js": "application/javascript", ".css": "text/css"}
"""The media types of what is shortened, by the end of the name."""
INDENTATION: Final = re.compile(r"\n[ \t]+(?=[^ \t`])")


def shorten(name: str, body: bytes) -> bytes:
    """Return what is sent of a file.

    What is vendored is sent as it is. So is everything where the library is not installed, and a
    file that the library cannot read: the browser then names the line of the mistake.
    """
    media_type = SHORTENED.get(PurePosixPath(name).suffix)
    if media_type is None or name.startswith("vendor/"):
        return body
    library = _load_library()
    if library is None:
        return body
    try:
        shortened = library.string(media_type, body.decode())
    except (UnicodeDecodeError, library.MinifyError):
        return body
    # What is left of lines is text in backticks, and none of it may depend on its indentation.
    return INDENTATION.sub("\n", shortened).encode()


def pack(body: bytes) -> bytes:
    """Compress by gzip, as well as can be. Where the library is missing the result is larger."""
    try:
        import deflate  # pyright: ignore[reportMissingTypeStubs]
    except (ImportError, OSError):
        return gzip.compress(body, 9, mtime=0)
    return bytes(deflate.gzip_compress(body, 12))  # pyright: ignore[reportUnknownMemberType]


@cache
def _load_library() -> ModuleType | None:
    """Import the library with the first file: it brings threads, and not every process sends one.

    Returns None where it is not installed, or where this machine cannot load it (OSError).
    """
    try:
        import minify  # pyright: ignore[reportMissingTypeStubs]
    except (ImportError, OSError):
        return None
    return minify
