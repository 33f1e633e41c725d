"""Names of apps: checked before a folder is made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from kernel.public import BadRequest

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
RULE: Final = "lower-case letters, digits and _, a letter first, 63 at most"
RESERVED: Final = frozenset({"core", "schema", "public", "information_schema"})


def check_name(name: str) -> None:
    """Refuse what is no id of an app. Raises BadRequest."""
    if name in RESERVED or name.startswith(("pg_", "caudex_")):
        raise BadRequest(f"the name {name!r} is reserved: choose another")
    if NAME.fullmatch(name):
        return
    message = f"{name!r} is no name for an app: {RULE}"
    suggestion = clean_name(name)
    if suggestion:
        message += f" ({suggestion}?)"
    raise BadRequest(message)


def clean_name(text: str) -> str:
    """Return the nearest name to a text, or an empty one."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_").lstrip("_0123456789")[:63]


def title_of(name: str) -> str:
    """Return a name as people read it."""
    return name.replace("_", " ").capitalize()


def name_of_file(path: Path) -> str:
    """Return the entity that a file of records is for. Raises BadRequest."""
    name = clean_name(path.stem)
    if not name:
        raise BadRequest(f"{path.name} gives no name for an entity: rename the file")
    return name
