"""The page for coding agents: its blocks run in order. The list of pages leads somewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kernel.testing import Server, running_server
from tests.pages import LINK, ROOT, run_shell

PAGE = (ROOT / "docs/agents.md").read_text("utf-8")


@pytest.fixture
def server(postgres):
    with running_server(postgres) as running:
        yield running


@pytest.mark.slow
def test_an_app_is_made_by_what_the_page_says(server: Server, tmp_path: Path) -> None:
    token = server.admin.tokens["accessToken"]
    for printed, shown in run_shell(PAGE, server.url, tmp_path, {"token": token}):
        assert json.loads(printed) == shown


def test_every_link_of_llms_txt_leads_somewhere() -> None:
    text = (ROOT / "llms.txt").read_text("utf-8")
    links = LINK.findall(text)
    assert len(links) > 15
    assert not [link for link in links if not (ROOT / link).is_file()]
    assert text.startswith("# Caudex\n\n> ")
