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
IMPORT: Final = re.compile(r"^import [^;]*;\n", re.MULTILINE)
EXPORT: Final = re.compile(
    r"^export (default )?(?=(?:async )?(?:function\*?|const|let|class) (\w+))", re.MULTILINE
)
OTHER_EXPORT: Final = re.compile(r"^export\b", re.MULTILINE)
RENAMED: Final = re.compile(
    r"function module\(\)\{exported\(\{(?P<exports>[^}]*)\}\)[,;]?(?P<body>.*)\}", re.DOTALL
)
INDENTATION: Final = re.compile(r"\n[ \t]+(?=[^ \t`])")
"""What is left of lines in a script is text in backticks: the templates of `htm`."""
MARKUP: Final = (
    (INDENTATION, "\n"),
    # Next to a tag, htm drops a line break; in a tag it is any space.
    (re.compile(r"(?<=>)\n[ \t]*|\n(?=<|/?>)"), ""),
    (re.compile(r"\n(?=[\w:-]+=|\.\.\.\$)"), " "),
    (re.compile(r"(?<=[\w\"}]) (?=/>)"), ""),
    # A closing tag needs no name.
    (re.compile(r"</(?:\w+|\$\{\w+\})>"), "<//>"),
)
"""Patterns of what templates have for their readers, and what is sent instead."""


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
        source = body.decode()
        if media_type == SHORTENED[".js"]:
            return _shorten_script(library, source).encode()
        return library.string(media_type, source).encode()
    except (UnicodeDecodeError, library.MinifyError):
        return body


def _shorten_script(library: ModuleType, source: str) -> str:
    shortened = _rename_all(library, source)
    if shortened is None:
        shortened = library.string(SHORTENED[".js"], source)
    for pattern, replacement in MARKUP:
        shortened = pattern.sub(replacement, shortened)
    return shortened


def _rename_all(library: ModuleType, source: str) -> str | None:
    """Shorten a module, the names of its own functions and constants included.

    The library renames what is inside of a function only. So it gets the module as the body of
    one, and the exports as a call at its beginning. Returns None where that cannot be done.
    """
    imports = "".join(IMPORT.findall(source))
    body = IMPORT.sub("", source)
    exports = [f"{'default' if default else name}:{name}" for default, name in EXPORT.findall(body)]
    body = EXPORT.sub("", body)
    if OTHER_EXPORT.search(body):
        return None
    function = f"function module(){{exported({{{','.join(exports)}}});\n{body}\n}}"
    renamed = RENAMED.fullmatch(library.string(SHORTENED[".js"], function))
    if renamed is None:
        return None

    pairs = [pair.split(":") for pair in renamed["exports"].split(",") if pair]
    listed = ",".join(f"{pair[-1]} as {pair[0]}" for pair in pairs)
    parts = [library.string(SHORTENED[".js"], imports), renamed["body"]]
    if listed:
        parts.append(f"export{{{listed}}}")
    return ";".join(part for part in parts if part)


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
