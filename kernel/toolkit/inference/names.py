"""Names of entities and fields from headings, as people write them."""

from __future__ import annotations

import re
import unicodedata


def clean_name(text: str) -> str:
    """Return the nearest name to a text, or an empty one."""
    decomposed = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    words = re.sub(r"[^a-z0-9]+", "_", plain.lower().replace("ß", "ss"))
    return words.strip("_").lstrip("_0123456789")[:63].rstrip("_")


def title_of(name: str) -> str:
    """Return a name as people read it."""
    return name.replace("_", " ").capitalize()
