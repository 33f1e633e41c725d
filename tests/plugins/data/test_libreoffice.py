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
