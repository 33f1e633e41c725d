"""The page for BI tools: its blocks are pasted into a shell."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kernel.testing import MakeServer
from tests.plugins.app_logins.test_readers import TAKE_BACK
from tests.plugins.backup.test_older_servers import BUNDLED
from tests.test_howto import command, page, pasted, with_ada


@pytest.mark.slow
def test_bi_tools_read_as_the_guide_says(make_server: MakeServer, tmp_path: Path):
    server = with_ada(make_server)
    server.sql(TAKE_BACK)
    environment = dict(command(server, server.kernel.context.data_dir))
    environment["PATH"] = f"{environment['PATH']}:{BUNDLED}"
    outputs = pasted(page("read-with-bi-tools"), server.url, tmp_path, environment)
    made, seen, views, renewed = outputs[1:]
    assert "Chairs" in views
    assert "Chairs" in made
    assert re.search(r"^password  \S{32}$", made, re.MULTILINE)
    assert seen.count("refused") == 3
    assert seen.splitlines()[-5:] == ["amount", "created_at", "id", "title", "updated_at"]
    assert "the former password is refused" in renewed
    assert "reader 'bi' revoked" in renewed
