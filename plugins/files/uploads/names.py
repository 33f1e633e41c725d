"""Names of files: what a client sent, without what could lead elsewhere."""

from __future__ import annotations

import re
import unicodedata
from typing import Final
from urllib.parse import quote

from kernel.public import UNPRINTABLE

MAX_NAME: Final = 255
"""Characters of a name: what file systems take."""
DEFAULT_NAME: Final = "file"

_SEPARATORS: Final = re.compile(r"[/\\]")
_ASCII_NAME: Final = re.compile(r"[^ !#-\[\]-~]|[%]")
"""What a quoted name in a header must not have."""


def clean_name(sent: str) -> str:
    """Return the last part of a path, without characters that cannot be seen."""
    last_part = _SEPARATORS.split(sent)[-1]
    visible = UNPRINTABLE.sub("", last_part).encode("utf-8", "ignore").decode()
    name = unicodedata.normalize("NFC", visible[: 4 * MAX_NAME]).strip()
    if len(name) > MAX_NAME:
        name = _shorten(name)
    return DEFAULT_NAME if name in ("", ".", "..") else name


def _shorten(name: str) -> str:
    """Cut a name, and leave its extension."""
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 20:
        return name[:MAX_NAME]
    return f"{stem[: MAX_NAME - 1 - len(extension)]}.{extension}"


def extension_of(name: str) -> str:
    """Return the extension of a name in lower case, without its dot."""
    return name.rpartition(".")[2].lower() if "." in name else ""


def write_disposition(name: str, *, inline: bool) -> str:
    """Write `Content-Disposition` (RFC 6266); a name beyond ASCII is there in both forms."""
    kind = "inline" if inline else "attachment"
    plain_name = _ASCII_NAME.sub("_", name)
    if plain_name == name:
        return f'{kind}; filename="{name}"'
    return f"{kind}; filename=\"{plain_name}\"; filename*=UTF-8''{quote(name, safe='')}"
