"""The data providers in a real Chromium, under react-admin's and Refine's own components."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.testing import Postgres, Server, running_server
from tests.plugins.console.browser import chromium, missing

from .test_providers import CLIENTS, MANIFEST

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "there")]

PACKAGES = [
    "ra-core@5.15.4", "@refinedev/core@5.0.12", "react@18.3.1", "react-dom@18.3.1",
    "react-router@6.30.1", "react-router-dom@6.30.1", "@tanstack/react-query@5.81.5",
    "react-hook-form@7.62.0", "esbuild@0.28.2",
]  # fmt: skip
PAGE = """\
<!doctype html><title>Deals</title><link rel="icon" href="data:,"><main></main>
<script>window.OPTIONS = {options};</script><script src="/{name}.js"></script>
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres) -> Iterator[Server]:
    with running_server(postgres) as running:
        running.install(MANIFEST)
        yield running


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle of each page, made by esbuild."""
    if shutil.which("npm") is None:
        pytest.skip("no Node.js here")
    folder = tmp_path_factory.mktemp("pages")
    (folder / "package.json").write_text('{"type": "module"}', "utf-8")
    options = ["--no-audit", "--no-fund", "--legacy-peer-deps", "--ignore-scripts"]
    installed = subprocess.run(
        ["npm", "install", *options, *PACKAGES],
        cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    if installed.returncode != 0:
        pytest.skip("the packages cannot be installed here")
    for name in ("js", "react-admin", "refine"):
        shutil.copytree(CLIENTS / name, folder / name)
    for name in ("react_admin", "refine"):
        shutil.copy(Path(__file__).with_name(f"{name}.jsx"), folder)
        defined = '--define:process.env.NODE_ENV="production"'
        command = ["npx", "esbuild", f"{name}.jsx", "--bundle", "--jsx=automatic", "--format=iife"]
        done = subprocess.run(
            [*command, defined, "--define:global=window", f"--outfile={name}.js"],
            cwd=folder, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(params=["react_admin", "refine"])
def page(request: pytest.FixtureRequest, server: Server, bundles: Path) -> Iterator[Any]:
    """The page of a framework, with five deals on the server."""
    server.sql("truncate shop.deals, shop.makers")
    rows = [{"title": f"Deal {n}", "value": n} for n in range(1, 6)]
    deals = "/api/v1/apps/shop/collections/deals"
    assert server.admin.post(f"{deals}/bulk", json=rows).status_code == 201
    key = server.admin.post("/api/v1/auth/keys", json={"name": "page"}).json()["key"]
    options = json.dumps({"url": server.url, "key": key})
    name: str = request.param
    with chromium() as browser:
        opened = browser.new_page()
        opened.set_default_timeout(15_000)
        html = PAGE.replace("{options}", options).replace("{name}", name)
        opened.route("**/page", lambda route: route.fulfill(content_type="text/html", body=html))
        script = (bundles / f"{name}.js").read_text("utf-8")
        opened.route(
            f"**/{name}.js",
            lambda route: route.fulfill(content_type="text/javascript; charset=utf-8", body=script),
        )
        opened.goto(f"{server.url}/page")
        yield opened


def wait_for_rows(page: Any, total: int, *rows: str) -> None:
    """Wait until the page shows these rows and this total."""
    page.wait_for_function(
        "wanted => JSON.stringify(wanted) === JSON.stringify(["
        "document.querySelector('output')?.textContent,"
        "...[...document.querySelectorAll('li')].map((row) => row.textContent)])",
        arg=[str(total), *rows],
    )


def test_pages_filters_changes_and_mistakes_are_shown(server: Server, page: Any) -> None:
    wait_for_rows(page, 5, "Deal 1 1", "Deal 2 2")
    page.get_by_role("button", name="Change").click()
    wait_for_rows(page, 5, "Deal 1 99", "Deal 2 2")
    assert server.sql("select value from shop.deals where title = 'Deal 1'") == [(99,)]
    page.get_by_role("button", name="Next").click()
    wait_for_rows(page, 5, "Deal 3 3", "Deal 4 4")
    page.get_by_role("button", name="Filter").click()
    wait_for_rows(page, 3, "Deal 1 99", "Deal 4 4")
    page.get_by_role("button", name="Delete").click()
    wait_for_rows(page, 2, "Deal 4 4", "Deal 5 5")
    assert server.sql("select count(*) from shop.deals") == [(4,)]
    page.get_by_role("button", name="Mistake").click()
    assert "nothing" in page.get_by_role("alert").inner_text()
