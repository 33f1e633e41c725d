"""The files of the console, from the folder `web`: nothing is bundled or generated."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, NamedTuple

from kernel.public import NotFound, Request, Response

from . import lean

WEB: Final = Path(__file__).parents[1] / "web"
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
    "vary": "Accept-Encoding",
}


class Stored(NamedTuple):
    """A file in memory, with the stamp of what was read."""

    stamp: tuple[int, int]
    media_type: str
    body: bytes
    zipped: bytes
    tag: str


class Files:
    """Serves the files of one folder. A changed file is read again, so an edit needs no restart."""

    def __init__(
        self, folder: Path, fill: dict[str, str] | None = None, is_lean: bool = False
    ) -> None:
        """In HTML files each `{{name}}` of `fill` is replaced by its value.

        With `is_lean` scripts and styles are shortened.
        """
        self._is_lean = is_lean
        self._folder = folder
        self._fill = fill or {}
        self._cache: dict[str, Stored] = {}

    def reply(self, request: Request, name: str) -> Response:
        """Send a file, or 304 where the browser has it. Raises NotFound."""
        stored = self._find(name)
        headers = {**HEADERS, "etag": stored.tag}
        if request.headers.get("if-none-match", "").removeprefix("W/") == stored.tag:
            return Response(status_code=304, headers=headers)
        headers["content-type"] = stored.media_type
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
            return Response(stored.zipped, headers=headers)
        return Response(stored.body, headers=headers)

    def _find(self, name: str) -> Stored:
        path = self._folder / name
        is_plain = all(part and not part.startswith(".") for part in name.split("/"))
        media_type = TYPES.get(path.suffix)
        if not is_plain or "\\" in name or "\0" in name:
            raise NotFound("there is no such file")
        if media_type is None or not path.is_file():
            raise NotFound("there is no such file")

        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        stored = self._cache.get(name)
        if stored is None or stored.stamp != stamp:
            body = self._read(path)
            if self._is_lean:
                body = lean.shorten(name, body)
            stored = _store(stamp, media_type, body)
            self._cache[name] = stored
        return stored

    def _read(self, path: Path) -> bytes:
        """Read a file; in a page the placeholders get their values."""
        body = path.read_bytes()
        if path.suffix == ".html":
            for name, value in self._fill.items():
                body = body.replace(b"{{%b}}" % name.encode(), _escape(value).encode())
        return body


def fingerprint(folder: Path = WEB) -> str:
    """Return a hash of all files of a folder: another release has another one."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.suffix in TYPES and path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _store(stamp: tuple[int, int], media_type: str, body: bytes) -> Stored:
    digest = hashlib.sha256(body).hexdigest()[:32]
    return Stored(stamp, media_type, body, lean.pack(body), f'"{digest}"')


def _escape(text: str) -> str:
    for letter, entity in (("&", "&amp;"), ("<", "&lt;"), ('"', "&quot;")):
        text = text.replace(letter, entity)
    return text
