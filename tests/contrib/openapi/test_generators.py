"""Generators of clients read both documents, what they generate compiles, and a report is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.testing import Server, running_server

from .generating import CRM, PLUGINS, run_npx, run_python, write_documents

pytestmark = pytest.mark.slow

IMPORT_ALL = """\
import importlib, pkgutil, sys, warnings
warnings.simplefilter("error")
package = importlib.import_module(sys.argv[1])
modules = [info.name for info in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in modules:
    importlib.import_module(name)
print(len(modules))
"""
REPORT = """\
import sys
from crm_client import AuthenticatedClient
from crm_client.api.deals import post_apps_crm_collections_deals_query as query
from crm_client.models import DealsQueryBody
client = AuthenticatedClient(base_url=sys.argv[1], token=sys.argv[2])
totals = {"deals": {"$count": "*"}, "sum": {"$sum": "value"}}
groups = DealsQueryBody.from_dict({"groupBy": ["stage"], "aggregate": totals, "orderBy": "sum"})
for group in query.sync(client=client, body=groups).data:
    print(f"{group['stage']:<10} {group['deals']:>3} {group['sum']:>8}")
records = query.sync(client=client, body=DealsQueryBody(limit=1, order_by="value")).data
print("the largest is", records[0].title)
"""
WON = "Proposal"
LEAD = "Lead"
USE_TYPESCRIPT = """\
import type { components, paths } from "./crm";
type Deal = components["schemas"]["deals.Record"];
type Query = paths["/api/v1/apps/crm/collections/deals/query"]["post"];
type Found = Query["responses"]["200"]["content"]["application/json"];
export const body: Query["requestBody"]["content"]["application/json"] = {
  where: { value: { $gte: 100 } },
  limit: 10,
};
export const titles = (found: Found) => (found.data as Deal[]).map((deal) => deal.title);
"""


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {"plugins": PLUGINS}) as running:
        running.install(CRM | {"appId": "crm"})
        yield running


@pytest.fixture
def folder(server: Server, tmp_path: Path) -> Path:
    write_documents(server, tmp_path)
    return tmp_path


@pytest.mark.parametrize(("name", "least"), [("server", 250), ("crm", 100)])
def test_the_generated_python_client_imports(folder: Path, name: str, least: int) -> None:
    output = generate_python(folder, name)
    assert "will not be generated" not in output
    assert "Could not find reference" not in output
    count = run_python(folder, "-c", IMPORT_ALL, f"{name}_client")
    assert int(count) > least


def test_ten_lines_print_a_report(server: Server, folder: Path) -> None:
    generate_python(folder, "crm")
    deals = "/api/v1/apps/crm/collections/deals"
    for title, value, stage in (("Small", 100, WON), ("Large", 900, WON), ("New", 50, LEAD)):
        answer = server.admin.post(deals, json={"title": title, "value": value, "stage": stage})
        assert answer.status_code == 201, answer.text
    assert len(REPORT.splitlines()) <= 12
    token = server.admin.tokens["accessToken"]
    printed = run_python(folder, "-c", REPORT, server.url, token).splitlines()
    assert [line.split() for line in printed[:2]] == [[WON, "2", "1000"], [LEAD, "1", "50"]]
    assert printed[2] == "the largest is Large"


def test_openapi_typescript_generates_what_tsc_takes(folder: Path) -> None:
    for name in ("server", "crm"):
        command = f"openapi-typescript {name}.json --output {name}.d.ts"
        run_npx(folder, "openapi-typescript@7.13.0", "typescript@5.9.3", command)
    (folder / "use.ts").write_text(USE_TYPESCRIPT, "utf-8")
    run_npx(folder, "typescript@7.0.2", "tsc --strict --noEmit use.ts server.d.ts crm.d.ts")


def generate_python(folder: Path, name: str) -> str:
    """Generate a client of Python, and return what the generator printed."""
    options = ["--path", f"{name}.json", "--output-path", f"{name}_client", "--meta", "none"]
    return run_python(folder, "-m", "openapi_python_client", "generate", *options)
