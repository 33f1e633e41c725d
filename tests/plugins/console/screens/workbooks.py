"""Workbooks of spreadsheets (Office Open XML), as small as they can be."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STYLES = (
    f"<styleSheet {MAIN}><numFmts count='1'><numFmt numFmtId='164' formatCode='yyyy\\-mm\\-dd'/>"
    "</numFmts><cellXfs count='3'><xf numFmtId='0'/><xf numFmtId='14'/><xf numFmtId='164'/>"
    "</cellXfs></styleSheet>"
)

Cell = str | float | bool | tuple[float, int] | None
"""A tuple is a number with its style: 1 and 2 are dates."""


def make_workbook(sheets: Mapping[str, Sequence[Sequence[Cell]]]) -> bytes:
    """Return a workbook with shared texts, numbers, booleans and dates."""
    texts: list[str] = []
    parts = {
        "xl/styles.xml": STYLES,
        "xl/workbook.xml": "".join(
            [
                f'<workbook {MAIN} xmlns:r="{RELATIONS}"><sheets>',
                *(
                    f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="rId{number}"/>'
                    for number, name in enumerate(sheets, 1)
                ),
                "</sheets></workbook>",
            ]
        ),
        "xl/_rels/workbook.xml.rels": "".join(
            [
                f'<Relationships xmlns="{PACKAGE}">',
                *(
                    f'<Relationship Id="rId{number}" Target="worksheets/sheet{number}.xml"/>'
                    for number in range(1, len(sheets) + 1)
                ),
                "</Relationships>",
            ]
        ),
    }
    for number, rows in enumerate(sheets.values(), 1):
        lines = "".join(_row(row, line, texts) for line, row in enumerate(rows, 1))
        parts[f"xl/worksheets/sheet{number}.xml"] = (
            f"<worksheet {MAIN}><sheetData>{lines}</sheetData></worksheet>"
        )
    shared = "".join(f"<si><t>{escape(text)}</t></si>" for text in texts)
    parts["xl/sharedStrings.xml"] = f"<sst {MAIN}>{shared}</sst>"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return packed.getvalue()


def _row(row: Sequence[Cell], line: int, texts: list[str]) -> str:
    cells = "".join(_cell(cell, line, place, texts) for place, cell in enumerate(row))
    return f'<row r="{line}">{cells}</row>'


def _cell(value: Cell, line: int, place: int, texts: list[str]) -> str:
    where = f"{chr(65 + place)}{line}"
    if value is None:
        return ""
    if isinstance(value, bool):
        return f'<c r="{where}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str):
        texts.append(value)
        return f'<c r="{where}" t="s"><v>{len(texts) - 1}</v></c>'
    if isinstance(value, tuple):
        return f'<c r="{where}" s="{value[1]}"><v>{value[0]}</v></c>'
    return f'<c r="{where}"><v>{value}</v></c>'
