"""New folders: from templates and CSV files, with names that are checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.testing import Server

from .support import Author

TEMPLATES = ("blank", "crm", "helpdesk")


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_folder_has_what_an_app_needs(stranger: Author, template: str) -> None:
    answer = stranger.json("app", "new", "stock_list", "--template", template)
    folder = stranger.folder / "stock_list"
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(answer["files"]) == present
    assert present >= {
        "manifest.json", "roles.json", "worker.py", "frontend/index.html", "tests/test_app.py",
        "tests/conftest.py", "AGENTS.md", ".gitignore", "frontend/caudex/index.js",
    }  # fmt: skip
    for path in folder.rglob("*"):
        assert "__pycache__" not in path.parts
        if path.is_file():
            text = path.read_text("utf-8")
            assert "sample_app" not in text, path
            assert "Sample app" not in text, path
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["appId"] == "stock_list"
    assert manifest["name"] == "Stock list"


@pytest.mark.slow
@pytest.mark.parametrize("template", TEMPLATES)
def test_its_own_tests_pass(stranger: Author, template: str) -> None:
    stranger.ok("app", "new", "stock_list", "--template", template)
    run_tests(stranger.folder / "stock_list")


def run_tests(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder,
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "name",
    ["a.b", "../x", "/tmp/x", "a/b", "", ".", "..", "Crm", "a-b", "1a", "core", "pg_x", "a" * 64,
     "a\nb", "a\0b"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_in_one_line(stranger: Author, name: str) -> None:
    refusal = stranger.refused("app", "new", name)
    assert "\n" not in refusal
    assert "no name for an app" in refusal or "reserved" in refusal
    assert [path.name for path in stranger.folder.iterdir()] == []


def test_an_existing_folder_is_refused(stranger: Author) -> None:
    (stranger.folder / "shop").mkdir()
    assert stranger.refused("app", "new", "shop") == ("shop exists: name another folder with --dir")
    stranger.ok("app", "new", "shop", "--dir", "other/shop")
    assert (stranger.folder / "other/shop/manifest.json").is_file()


CSV = """\
Name,Amount,Price,Active,Bought,Seen at,State,Zip,Empty,id,Note
Nut,1,1.50,true,2031-01-02,2031-01-02T10:00:00Z,new,01234,,7,"a, b"
Bolt,20,2,FALSE,2031-02-03,2031-01-02 10:00,used,99999,,8,"line
two"
Gear,-3,1e3,true,2031-02-28,2031-01-02T10:00:00+02:00,new,00001,,9,c
Axle,0,0.25,true,2031-02-28,2031-01-02T10:00:00.5Z,used,10000,,10,
Pin,5,1,true,2031-02-28,2031-01-02T10:00:00Z,new,10001,,11,e
Cog,5,1,true,2031-02-28,2031-01-02T10:00:00Z,new,10001,,12,f
"""


def test_types_are_found_over_all_rows(stranger: Author, server: Server) -> None:
    (stranger.folder / "Spare parts.csv").write_text(CSV, "utf-8")
    words = ("app", "new", "shop", "Spare parts.csv", "--template", "from-csv")
    out = stranger.ok(*words).out
    assert "spare_parts (6 rows of Spare parts.csv)" in out
    assert "amount (from 'Amount'): whole numbers, required" in out
    assert "state (from 'State'): one of new, used, required" in out
    assert "    caudex data import spare_parts data/spare_parts.csv\n" in out
    folder = stranger.folder / "shop"
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    [entity] = manifest["dataContract"]
    types = {field["name"]: field["type"] for field in entity["fields"]}
    assert types == {
        "name": "text", "amount": "number", "price": "number", "active": "boolean",
        "bought": "date", "seen_at": "timestamp", "state": "text", "zip": "text",
        "empty": "text", "note": "text",
    }  # fmt: skip
    fields = {field["name"]: field for field in entity["fields"]}
    assert fields["state"]["enum_values"] == ["new", "used"]
    assert fields["name"].get("enum_values") is None
    assert fields["note"].get("required") is None

    author = Author(folder, server)
    author.ok("app", "deploy")
    report = author.json("data", "import", "spare_parts", "data/spare_parts.csv")
    assert (report["created"], report["errors"]) == (6, [])
    records = server.admin.get("/api/v1/apps/shop/collections/spare_parts?sort=amount").json()
    assert {record["zip"] for record in records} >= {"01234", "00001"}
    assert {record["note"] for record in records} >= {"line\ntwo", "a, b", None}


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("", "has no header"),
        ("a,b\n1\n", "line 2: 1 values, the header has 2"),
        ('a\n"x\n', "unexpected end of data"),
        ("a\n\xff", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_csv_is_refused(stranger: Author, text: str, refusal: str) -> None:
    (stranger.folder / "x.csv").write_bytes(text.encode("latin-1"))
    assert refusal in stranger.refused("app", "new", "shop", "x.csv", "--template", "from-csv")
    assert not (stranger.folder / "shop").exists()


def test_files_belong_to_from_csv(stranger: Author) -> None:
    assert stranger.run("app", "new", "shop", "x.csv").status == 2
    assert stranger.run("app", "new", "shop", "--template", "from-csv").status == 2
    assert stranger.run("app", "new", "shop", "--template", "nothing").status == 2
