"""The functions for TanStack Query of the page, with its core and a server."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from kernel.testing import running_server
from tests.pages import ROOT, write_files

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs/howto/use-stock-clients.md").read_text("utf-8")
CRM = {
    "appId": "crm",
    "name": "CRM",
    "dataContract": [
        {
            "entityName": "contacts",
            "fields": [
                {"name": "last_name", "type": "text", "required": True},
                {"name": "state", "type": "text", "enum_values": ["new", "known"]},
            ],
        }
    ],
}
SCRIPT = """\
import { QueryClient, MutationObserver } from '@tanstack/query-core';
import { Caudex } from './caudex/index.js';
import { changeContact, contactQuery, contactsQuery } from './queries.js';

const caudex = new Caudex(JSON.parse(process.argv[2]));
const queries = new QueryClient();
const page = await queries.fetchQuery(contactsQuery(caudex, { page: 1, size: 2 }));
const { id } = page.data[0];
await queries.fetchQuery(contactQuery(caudex, id));
const seen = [];
queries.getQueryCache().subscribe(() => {
  seen.push(queries.getQueryData(contactQuery(caudex, id).queryKey).state);
});
const change = new MutationObserver(queries, changeContact(caudex, queries, id));
await change.mutate({ state: 'known' });
const stored = await caudex.app('crm').collection('contacts').get(id);
const refused = await change.mutate({ state: 'wrong' }).catch((error) => error.status);
const after = queries.getQueryData(contactQuery(caudex, id).queryKey);
console.log(JSON.stringify({
  names: page.data.map((contact) => contact.last_name), total: page.total,
  stored: stored.state, shown: seen.includes('wrong'), refused, after: after.state,
}));
"""


def test_the_page_reads_writes_and_takes_back(postgres, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("no Node.js here")
    assert "queries.js" in write_files(PAGE, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}', "utf-8")
    (tmp_path / "script.js").write_text(SCRIPT, "utf-8")
    shutil.copytree(ROOT / "contrib/clients/js", tmp_path / "caudex")
    options = ["--no-audit", "--no-fund", "--ignore-scripts"]
    installed = subprocess.run(
        ["npm", "install", *options, "@tanstack/query-core@5.108.0"],
        cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    if installed.returncode != 0:
        pytest.skip("the package cannot be installed here")
    with running_server(postgres) as server:
        server.install(CRM)
        rows = [{"last_name": name, "state": "new"} for name in "ABCDE"]
        server.admin.post("/api/v1/apps/crm/collections/contacts/bulk", json=rows)
        key = server.admin.post("/api/v1/auth/keys", json={"name": "page"}).json()["key"]
        done = subprocess.run(
            ["node", "script.js", json.dumps({"url": server.url, "key": key})],
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "names": ["C", "D"],
        "total": 5,
        "stored": "known",
        "shown": True,
        "refused": 400,
        "after": "known",
    }
