"""The page of a share: a table, without a script and without anything from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from kernel.public import title_of

from .models import Share

STYLE: Final = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid #8886; padding: .5rem .75rem; text-align: left; }
td { overflow-wrap: anywhere; vertical-align: top; white-space: pre-wrap; }
"""
_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Whatever a record holds, a browser runs and loads nothing."""

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


def draw_page(share: Share, records: Sequence[Mapping[str, Any]]) -> str:
    """Return the page: a row for each field of one record, or for each record of a list."""
    fields = share.query.fields or ()
    if share.entity is None:
        content = "<p>This share shows no records.</p>"
    elif share.record_id is not None:
        rows = list[str]()
        for record in records:
            for field in fields:
                head = f'<th scope="row">{_escape(title_of(field))}</th>'
                rows.append(f"<tr>{head}<td>{_show(record, field)}</td></tr>")
        content = _table(rows)
    else:
        heads = [f'<th scope="col">{_escape(title_of(field))}</th>' for field in fields]
        rows = [f"<tr>{''.join(heads)}</tr>"]
        for record in records:
            cells = [f"<td>{_show(record, field)}</td>" for field in fields]
            rows.append(f"<tr>{''.join(cells)}</tr>")
        content = _table(rows)
    return _PAGE.format(title=_escape(share.name), style=STYLE, content=content)


def _table(rows: Sequence[str]) -> str:
    lines = "\n".join(rows)
    return f'<div class="table" tabindex="0">\n<table>\n{lines}\n</table>\n</div>'


def _show(record: Mapping[str, Any], field: str) -> str:
    """Return a value for people, as text of a page."""
    value = record.get(field)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _escape(value)
    return _escape(msgspec.json.encode(value).decode())


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
