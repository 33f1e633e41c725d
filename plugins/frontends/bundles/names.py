"""What the name of a file says: its type, whether it holds a hash, whether it is left out."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from kernel.public import is_junk

RESERVED: Final = ("api", "_auth", "console", "health")
"""Names that the server answers itself on an app's host."""
INDEX: Final = "index.html"

# The table of the system is not read: the same file has the same type on every machine.
_TYPES: Final = mimetypes.MimeTypes(filenames=())
_WEB_TYPES: Final = {
    ".avif": "image/avif",
    ".cjs": "text/javascript",
    ".css": "text/css",
    ".gif": "image/gif",
    ".htm": "text/html",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".md": "text/markdown",
    ".mjs": "text/javascript",
    ".mp4": "video/mp4",
    ".otf": "font/otf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain",
    ".wasm": "application/wasm",
    ".webm": "video/webm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
}
_COMPRESSIBLE: Final = re.compile(
    r"text/.*|application/(json|manifest\+json|wasm|xml|.*\+xml|.*\+json)|image/(svg\+xml|x-icon|bmp)"
    r"|font/(otf|ttf)"
)
_HASH: Final = re.compile(r"[.-](?P<hash>[A-Za-z0-9_-]{8,64})(\.[A-Za-z][A-Za-z0-9]{0,11}){1,3}")
_HEX: Final = re.compile(r"(?=.*[0-9])(?=.*[a-f])[0-9a-f]{8,64}")
_BASE32: Final = re.compile(r"(?=.*[2-7])(?=.*[A-Z])[A-Z2-7]{8}")
_BASE64: Final = re.compile(r"(?=.*[a-z])(?=.*[A-Z])[A-Za-z0-9_-]{8}")


def find_type(path: str) -> str:
    """Return the media type of a file by the end of its name."""
    extension = path.rpartition("/")[2].rpartition(".")
    suffix = f".{extension[2].lower()}" if extension[1] else ""
    media_type = _WEB_TYPES.get(suffix) or _TYPES.guess_type(f"file{suffix}")[0]
    if media_type is None:
        return "application/octet-stream"
    if media_type.startswith("text/"):
        return f"{media_type}; charset=utf-8"
    return media_type


def is_compressible(media_type: str) -> bool:
    """Whether files of a type become smaller by compression."""
    return _COMPRESSIBLE.fullmatch(media_type.partition(";")[0]) is not None


def has_hash(path: str) -> bool:
    """Whether a name ends with a hash, as bundlers write it: the content never changes.

    It is `main.3f2a9c1b.js` (webpack), `index-DiwrgTda.js` (Rollup, Vite), `main-5QXPJ2AB.js`
    (esbuild). A name that only looks so is kept by browsers for a year. A date has no hash, and
    neither has a plain word.
    """
    match = _HASH.search(path.rpartition("/")[2])
    if match is None or match.end() != len(match.string):
        return False
    digits = match["hash"]
    tail = digits[-8:]
    starts_word = len(digits) == 8 or digits[-9] in "-_"
    is_short_hash = starts_word and bool(_BASE64.fullmatch(tail) or _BASE32.fullmatch(tail))
    return _HEX.fullmatch(digits.rpartition("-")[2]) is not None or is_short_hash


def is_left_out(parts: Sequence[str]) -> bool:
    """Whether a path is not sent, by its names: what a Mac adds, and hidden files and folders."""
    is_hidden = any(name.startswith(".") and name != ".well-known" for name in parts)
    return is_hidden or is_junk(parts)


def normalize(path: str) -> str:
    """Return a path as bundles have it: a Mac packs letters and their accents apart."""
    return path if path.isascii() else unicodedata.normalize("NFC", path)
