"""What `doctor` says of full-text searches."""

from __future__ import annotations

from typing import Final

from kernel.public import DatabaseQuery, Finding

from . import store

LACKING: Final = {
    "unaccent": "words with accents are found with these accents only",
    "pg_trgm": "searches find no similar words",
}
"""What is missing without an extension."""


def findings(query: DatabaseQuery) -> list[Finding]:
    """Return a warning for each extension that searches lack, and for missing indexes."""
    apps = query(store.SEARCHED)
    if not apps:
        return []
    lacking = [
        f"{what}: PostgreSQL has no extension {name} here; a superuser can create it (apps: {apps})"
        for name, what in LACKING.items()
        if not query(store.HAS_EXTENSION, name)
    ]
    if entities := query(store.UNINDEXED):
        lacking.append(f"these search every record, as an index is gone: {entities}; install again")
    if not lacking:
        return [Finding(name="search", text=f"with an index in {apps}")]
    return [Finding(name="search", text=text, state="warn") for text in lacking]
