"""The sections `views` and `dashboards` of manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from kernel.public import ManifestSection
from plugins.console.saved.declared import DASHBOARDS, VIEWS
from plugins.console.saved.shapes import DeclaredDashboard, DeclaredView

MAX_VIEWS: Final = 100
MAX_DASHBOARDS: Final = 20


def describe_sections() -> list[ManifestSection]:
    """Return the sections with their schemas."""
    views: dict[str, Any] = msgspec.json.schema(list[DeclaredView])
    views |= {
        "title": "Views",
        "description": "Views of tables: as a table, a board, a calendar, a gallery or a chart.",
        "maxItems": MAX_VIEWS,
    }
    dashboards: dict[str, Any] = msgspec.json.schema(list[DeclaredDashboard])
    dashboards |= {
        "title": "Dashboards",
        "description": "Numbers, charts, lists and views on one page.",
        "maxItems": MAX_DASHBOARDS,
    }
    return [
        ManifestSection(VIEWS, views, _find_repeated),
        ManifestSection(DASHBOARDS, dashboards, _find_repeated),
    ]


def _find_repeated(value: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield names that are declared twice: by its name a view keeps its address."""
    counts = Counter(item["name"] for item in value)
    for index, item in enumerate(value):
        if counts[item["name"]] > 1:
            yield f"[{index}].name", f"{item['name']!r} is declared twice"
