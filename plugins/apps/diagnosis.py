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

    warnings: list[str] = []
    for extension, effect in LACKING.items():
        if not query(store.HAS_EXTENSION, extension):
            warnings.append(
                f"{effect}: PostgreSQL has no extension {extension} here; "
                f"a superuser can create it (apps: {apps})"
            )
    entities = query(store.UNINDEXED)
    if entities:
        warnings.append(
            f"these search every record, as an index is gone: {entities}; install again"
        )

    if not warnings:
        return [Finding(name="search", text=f"with an index in {apps}")]
    return [Finding(name="search", text=warning, state="warn") for warning in warnings]
