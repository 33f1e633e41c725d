"""What a file is, by its first bytes; the name decides only within a family of formats."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Any, Final

import filetype  # pyright: ignore[reportMissingTypeStubs] - it has none

from .names import extension_of

HEAD_BYTES: Final = 8192
"""Bytes that are looked at."""

UNKNOWN: Final = "application/octet-stream"
PLAIN_TEXT: Final = "text/plain"

_OPENXML: Final = "application/vnd.openxmlformats-officedocument"
_OPENDOCUMENT: Final = "application/vnd.oasis.opendocument"
_ZIP_FAMILY: Final[Mapping[str, str]] = {
    "docx": f"{_OPENXML}.wordprocessingml.document",
    "xlsx": f"{_OPENXML}.spreadsheetml.sheet",
    "pptx": f"{_OPENXML}.presentationml.presentation",
    "odt": f"{_OPENDOCUMENT}.text",
    "ods": f"{_OPENDOCUMENT}.spreadsheet",
    "odp": f"{_OPENDOCUMENT}.presentation",
    "odg": f"{_OPENDOCUMENT}.graphics",
    "epub": "application/epub+zip",
    "jar": "application/java-archive",
    "apk": "application/vnd.android.package-archive",
    "kmz": "application/vnd.google-earth.kmz",
    "3mf": "model/3mf",
}
_TEXT_FAMILY: Final[Mapping[str, str]] = {
    "csv": "text/csv",
    "tsv": "text/tab-separated-values",
    "md": "text/markdown",
    "html": "text/html",
    "htm": "text/html",
    "xhtml": "application/xhtml+xml",
    "css": "text/css",
    "js": "text/javascript",
    "mjs": "text/javascript",
    "json": "application/json",
    "geojson": "application/geo+json",
    "ndjson": "application/x-ndjson",
    "xml": "application/xml",
    "svg": "image/svg+xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "toml": "application/toml",
    "ics": "text/calendar",
    "vcf": "text/vcard",
    "eml": "message/rfc822",
    "gpx": "application/gpx+xml",
    "kml": "application/vnd.google-earth.kml+xml",
}
_OLE_FAMILY: Final[Mapping[str, str]] = {
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
}
_ZIPPED: Final = frozenset({"application/zip", *_ZIP_FAMILY.values()})
_OLE_MAGIC: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_TEXT_FORMATS: Final = frozenset({"application/pdf", "application/rtf", "application/postscript"})
"""Formats whose files may be plain text from end to end."""
_OTHER_NAMES: Final = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac"}
_CONTROLS: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\f\r\x1b") + b"\x7f"


def detect_type(head: bytes, name: str) -> str:
    """Return the media type of a file that begins with `head`."""
    extension = extension_of(name)
    guess: Any = filetype.guess(head)  # pyright: ignore[reportUnknownMemberType] - no stubs
    media_type = "" if guess is None else str(guess.mime)
    if media_type in _ZIPPED:
        return _ZIP_FAMILY.get(extension, "application/zip")
    # Some formats are known by two letters, which a text may begin with.
    if media_type not in _TEXT_FORMATS and _is_text(head):
        return _TEXT_FAMILY.get(extension, PLAIN_TEXT)
    if head.startswith(_OLE_MAGIC):
        return _OLE_FAMILY.get(extension, "application/x-ole-storage")
    return _OTHER_NAMES.get(media_type, media_type) or UNKNOWN


def _is_text(head: bytes) -> bool:
    """Whether bytes are the beginning of a text in UTF-8 without control characters."""
    if head.translate(None, _CONTROLS) != head:
        return False
    is_cut = len(head) >= HEAD_BYTES
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=not is_cut)
    except UnicodeDecodeError:
        return False
    return True
