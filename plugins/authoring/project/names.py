"""Names of apps: checked before a folder is made."""

from __future__ import annotations

import re
from typing import Final

from kernel.public import BadRequest, clean_name

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
