"""Types of an app: written from what the caller may see, and strict tools pass over them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.testing import Server

from .support import Author

MANIFEST = {
    "appId": "typed",
    "name": "Typed",
    "dataContract": [
        {
            "entityName": "companies",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {"name": "from", "type": "text"},
            ],
        },
        {
            "entityName": "deals",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "value", "type": "number"},
                {
                    "name": "stage", "type": "text", "enum_values": ["Lead", "It's \"won\""],
                    "default_value": "Lead", "required": True,
                },
                {"name": "tags", "type": "[text]"},
                {"name": "scores", "type": "[number]"},
                {"name": "extra", "type": "json"},
                {"name": "closed", "type": "date"},
                {"name": "label", "type": "text", "generated": {"$concat": ["title", "!"]}},
                {"name": "company_id", "type": "entity_link",
                 "references": {"entity": "companies"}},
                {"name": "contract", "type": "file", "maxSize": "1MB"},
                {"name": "owner", "type": "entity_link", "references": {"entity": "core:users"}},
                {"name": "margin", "type": "number", "access": {"read": "lead"}},
            ],
        },
    ],
}  # fmt: skip
USE_PYTHON = """\
from typed import CompaniesWhere, DealsCreate, DealsRecord, DealsUpdate, DealsWhere

where: DealsWhere = {
    "stage": {"$in": ["Lead"]},
    "value": {"$gt": 3},
    "company_id": {"$has": {"name": {"$like": "A%"}}},
    "$or": [{"title": "x"}, {"tags": {"$contains": "vip"}}],
}
of_links: CompaniesWhere = {"deals_via_company_id": {"$some": {"stage": "Lead"}}}
create: DealsCreate = {"title": "x", "scores": [1, 2], "extra": {"a": [None]}}
update: DealsUpdate = {"value": None}


def show(record: DealsRecord) -> str:
    contract = record["contract"]
    return record["title"] + (contract["name"] if contract is not None else "")
"""
WRONG_PYTHON = (
    'wrong: DealsWhere = {"value": {"$gt": "3"}}',
    'wrong: DealsWhere = {"nothing": 1}',
    'wrong: DealsCreate = {"title": "x", "stage": "Won"}',
    'wrong: DealsCreate = {"value": 1}',
    'wrong: DealsUpdate = {"label": "x"}',
)
USE_TYPESCRIPT = """\
import type { CompaniesWhere, DealsCreate, DealsRecord, DealsUpdate, Entities } from "./typed";

export const where: Entities["deals"]["where"] = {
  stage: { $in: ["Lead"] },
  value: { $gt: 3 },
  company_id: { $has: { name: { $like: "A%" } } },
  $or: [{ title: "x" }, { tags: { $contains: "vip" } }],
};
export const ofLinks: CompaniesWhere = { deals_via_company_id: { $some: { stage: "Lead" } } };
export const create: DealsCreate = { title: "x", scores: [1, 2], extra: { a: [null] } };
export const update: DealsUpdate = { value: null };
export const show = (record: DealsRecord): string => record.title + (record.contract?.name ?? "");
"""
WRONG_TYPESCRIPT = (
    'export const wrong: Entities["deals"]["where"] = { value: { $gt: "3" } };',
    'export const wrong: Entities["deals"]["where"] = { nothing: 1 };',
    'export const wrong: DealsCreate = { title: "x", stage: "Won" };',
    "export const wrong: DealsCreate = { value: 1 };",
    'export const wrong: DealsUpdate = { label: "x" };',
)


@pytest.fixture
def typed(author: Author, server: Server) -> Author:
    server.install(MANIFEST)
    return author


def test_fields_that_the_caller_may_not_read_are_left_out(typed: Author, server: Server) -> None:
    text = typed.json("types", "python", "--app", "typed")["text"]
    assert "margin" in text
    assert '"contract": "FileValue | None"' in text
    user = server.user(permissions={"typed": ["deals.read"]})
    typed.variables["CAUDEX_TOKEN"] = user.tokens["accessToken"]
    answer = typed.json("types", "python", "--app", "typed")
    assert answer["entities"] == ["deals"]
    assert "margin" not in answer["text"]


def test_the_python_file_is_a_module(typed: Author) -> None:
    typed.ok("types", "python", "--app", "typed", "--output", "typed.py")
    done = subprocess.run(
        [sys.executable, "-c", "import typed; print(typed.DealsCreate.__required_keys__)"],
        cwd=typed.folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "title" in done.stdout


@pytest.mark.slow
def test_pyright_strict_passes_and_finds_each_mistake(typed: Author) -> None:
    checker = Path(sys.executable).with_name("basedpyright")
    if not checker.exists():
        pytest.skip("no pyright here")
    typed.ok("types", "python", "--app", "typed", "-o", "typed.py")
    config = '[tool.basedpyright]\ntypeCheckingMode = "strict"\n'
    (typed.folder / "pyproject.toml").write_text(config, "utf-8")
    (typed.folder / "use.py").write_text(USE_PYTHON, "utf-8")
    good = subprocess.run(
        [checker, "typed.py", "use.py"], cwd=typed.folder, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert good.returncode == 0, good.stdout
    for number, line in enumerate(WRONG_PYTHON):
        (typed.folder / f"wrong{number}.py").write_text(f"{USE_PYTHON}\n\n{line}\n", "utf-8")
    bad = subprocess.run(
        [checker, *(f"wrong{number}.py" for number in range(len(WRONG_PYTHON)))],
        cwd=typed.folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    for number in range(len(WRONG_PYTHON)):
        assert f"wrong{number}.py:{USE_PYTHON.count(chr(10)) + 3}:" in bad.stdout


@pytest.mark.slow
def test_tsc_strict_passes_and_finds_each_mistake(typed: Author) -> None:
    if shutil.which("npx") is None:
        pytest.skip("no Node.js here")
    typed.ok("types", "ts", "--app", "typed", "-o", "typed.ts")
    (typed.folder / "use.ts").write_text(USE_TYPESCRIPT, "utf-8")
    good = tsc(typed.folder, "typed.ts", "use.ts")
    assert good.returncode == 0, good.stdout + good.stderr
    names = [f"wrong{number}.ts" for number in range(len(WRONG_TYPESCRIPT))]
    for name, line in zip(names, WRONG_TYPESCRIPT, strict=True):
        (typed.folder / name).write_text(f"{USE_TYPESCRIPT}{line}\n", "utf-8")
    bad = tsc(typed.folder, *names)
    for name in names:
        assert f"{name}({USE_TYPESCRIPT.count(chr(10)) + 1}," in bad.stdout


def tsc(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    command = ["npx", "--yes", "--package", "typescript@7.0.2", "tsc", "--strict", "--noEmit"]
    return subprocess.run(
        [*command, *files], cwd=folder, env=dict(os.environ), capture_output=True, text=True,
        timeout=200, check=False,
    )  # fmt: skip
