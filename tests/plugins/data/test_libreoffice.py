"""An export that is opened in LibreOffice, edited, saved and imported."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Client, Server
from tests.plugins.data.support import SAMPLES, TEAMS, clear, create
from tests.plugins.data.test_import_spellings import report, send

OFFICE = shutil.which("soffice")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(OFFICE is None, reason="LibreOffice is not installed (libreoffice-calc)"),
]
# Tokens of the filter: comma, quote, UTF-8, first line.
CSV_IN = "CSV:44,34,76,1"
CSV_OUT = "csv:Text - txt - csv (StarCalc):44,34,76,1"


def convert(folder: Path, file: Path, target: str, *options: str) -> Path:
    """Open a file in LibreOffice and save it in another format."""
    assert OFFICE is not None
    profile = f"-env:UserInstallation=file://{folder}/profile"
    subprocess.run(
        [OFFICE, profile, "--headless", *options, "--convert-to", target, "--outdir",
         str(folder), str(file)],
        check=True, capture_output=True, timeout=180,
    )  # fmt: skip
    return folder / f"{file.stem}.{target.partition(':')[0]}"


@pytest.fixture
def admin(lab: Server) -> Client:
    clear(lab)
    return lab.admin


def fill(client: Client) -> dict[str, dict[str, Any]]:
    """Create records with each type of field, and return them by their names."""
    create(client, TEAMS, id="blue", name="Blue")
    parent = create(client, name="parent", code="p1")
    for number in range(20):
        create(
            client,
            name=f"sample {number}",
            code=f"c{number}",
            amount=number + 0.25 if number % 2 else None,
            ready=bool(number % 3),
            taken_on=f"2024-02-{1 + number:02}",
            seen_at="2024-02-03T04:05:06.5Z",
            details={"a": [number, "x, y"]},
            tags=["a", 'b "c"'],
            sizes=[1.5, number],
            scan="=1+1" if number % 2 else "plain, text",
            kind="Water's",
            parent=parent["id"],
            team="blue",
        )
    return by_name(client)


def by_name(client: Client) -> dict[str, dict[str, Any]]:
    return {record["name"]: record for record in client.get(SAMPLES).json()}


def test_what_was_edited_in_libreoffice_changes_and_nothing_is_doubled(
    admin: Client, tmp_path: Path
):
    before = fill(admin)
    export = tmp_path / "samples.csv"
    export.write_bytes(admin.get(SAMPLES, params={"format": "csv"}).content)
    sheet = convert(tmp_path, export, "fods", f"--infilter={CSV_IN}")
    text = sheet.read_text("utf-8")
    assert text.count(">sample 7<") == 1
    edited = text.replace(">sample 7<", ">renamed &amp; moved<")
    assert edited.count('office:value="9.25"') == 1
    edited = edited.replace('office:value="9.25"', 'office:value="-12.5"')
    (tmp_path / "edited.fods").write_text(edited, "utf-8")
    saved = convert(tmp_path, tmp_path / "edited.fods", CSV_OUT)

    for dry_run in ("true", "false"):
        done = report(send(admin, saved.read_bytes(), on="id", dryRun=dry_run))
        assert done["errors"] == []
        assert (done["created"], done["updated"], done["unchanged"]) == (0, 21, 19)
    after = by_name(admin)
    assert len(after) == 21
    renamed = after.pop("renamed & moved")
    assert renamed == {
        **before.pop("sample 7"), "name": "renamed & moved", "updated_at": renamed["updated_at"],
    }  # fmt: skip
    changed = after.pop("sample 9")
    assert changed == {
        **before.pop("sample 9"), "amount": -12.5, "updated_at": changed["updated_at"],
    }  # fmt: skip
    assert after == before


def test_a_workbook_of_libreoffice_is_read_in_its_own_csv(admin: Client, tmp_path: Path):
    """With semicolons and in UTF-16, as its dialogs offer."""
    fill(admin)
    export = tmp_path / "samples.csv"
    export.write_bytes(admin.get(SAMPLES, params={"format": "csv"}).content)
    workbook = convert(tmp_path, export, "xlsx", f"--infilter={CSV_IN}")
    saved = convert(tmp_path, workbook, "csv:Text - txt - csv (StarCalc):59,34,65535,1")
    done = report(send(admin, saved.read_bytes(), on="id", charset="utf-16", dates="iso"))
    assert (done["created"], done["unchanged"], done["errors"]) == (0, 21, [])
    assert done["delimiter"] == ";"


TRADE: dict[str, Any] = {
    "appId": "trade",
    "name": "Trade",
    "dataContract": [
        {
            "entityName": "customers",
            "fields": [{"name": "name", "type": "text", "required": True}],
            "indexes": [{"columns": ["name"], "unique": True}],
        },
        {
            "entityName": "orders",
            "fields": [
                {"name": "title", "type": "text"},
                {"name": "amount", "type": "number"},
                {"name": "paid", "type": "boolean"},
                {
                    "name": "customer_id",
                    "type": "entity_link",
                    "references": {"entity": "customers"},
                },
            ],
        },
    ],
}
CUSTOMERS, ORDERS = (f"/api/v1/apps/trade/collections/{name}" for name in ("customers", "orders"))
BOOK = """<?xml version="1.0" encoding="UTF-8"?>
<office:document xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
 xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
 xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" office:version="1.3"
 office:mimetype="application/vnd.oasis.opendocument.spreadsheet"><office:body>
<office:spreadsheet>{}</office:spreadsheet></office:body></office:document>"""
EACH_SHEET = f"{CSV_OUT},,0,false,true,false,false,false,-1"


def sheet(name: str, rows: list[list[str | float | bool]]) -> str:
    """Write a sheet of a workbook."""
    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    return f'<table:table table:name="{name}">{lines}</table:table>'


def cell(value: str | float | bool) -> str:
    if isinstance(value, bool):
        text = str(value).lower()
        return f'<table:table-cell office:value-type="boolean" office:boolean-value="{text}"/>'
    if isinstance(value, float):
        return f'<table:table-cell office:value-type="float" office:value="{value}"/>'
    return (
        f'<table:table-cell office:value-type="string"><text:p>{value}</text:p></table:table-cell>'
    )


def test_a_workbook_of_two_linked_sheets_goes_in_is_edited_and_comes_back(
    lab: Server, tmp_path: Path
):
    lab.install(TRADE)
    admin = lab.admin
    book = tmp_path / "book.fods"
    customers = sheet("customers", [["Name"], ["Acme"], ["Bolt, Nuts &amp; Co"]])
    orders = sheet(
        "orders",
        [
            ["Title", "Amount", "Paid", "Customer_id.name"],
            ["Robots", 1234.5, True, "Acme"],
            ["Screws", 7.0, False, "Bolt, Nuts &amp; Co"],
        ],
    )
    book.write_text(BOOK.format(customers + orders), "utf-8")
    convert(tmp_path, book, EACH_SHEET)
    for name, path in (("customers", CUSTOMERS), ("orders", ORDERS)):
        done = report(send(admin, (tmp_path / f"book-{name}.csv").read_bytes(), path=path))
        assert (done["created"], done["errors"]) == (2, [])

    export = tmp_path / "orders.csv"
    export.write_bytes(admin.get(ORDERS, params={"format": "csv"}).content)
    before = {record["title"]: record for record in admin.get(ORDERS).json()}
    assert before["Robots"]["amount"] == 1234.5
    assert (before["Robots"]["paid"], before["Screws"]["paid"]) == (True, False)
    assert before["Robots"]["customer_id"] != before["Screws"]["customer_id"]
    opened = convert(tmp_path, export, "fods", f"--infilter={CSV_IN}").read_text("utf-8")
    assert opened.count(">Screws<") == 1
    (tmp_path / "edited.fods").write_text(opened.replace(">Screws<", ">Nails<"), "utf-8")
    saved = convert(tmp_path, tmp_path / "edited.fods", CSV_OUT)
    done = report(send(admin, saved.read_bytes(), path=ORDERS, on="id"))
    assert (done["created"], done["updated"], done["unchanged"], done["errors"]) == (0, 2, 1, [])
    after = {record["title"]: record for record in admin.get(ORDERS).json()}
    assert after["Robots"] == before["Robots"]
    changed = {"title": "Nails", "updated_at": after["Nails"]["updated_at"]}
    assert after["Nails"] == {**before["Screws"], **changed}
    assert admin.delete("/api/v1/apps/trade").status_code == 200
