"""The page: its files, and what a browser may do with them."""

import re

import pytest

from contrib.openapi import assets
from kernel.errors import BootError
from kernel.testing import Server

PAGE = "/api/v1/docs"


def links(server: Server) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', server.http.get(PAGE).text)


def test_the_page_needs_no_token_and_shows_nothing_without_one(server):
    answer = server.http.get(PAGE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert "tasks" not in answer.text


def test_nothing_is_inline_and_nothing_comes_from_elsewhere(server):
    answer = server.http.get(PAGE)
    policy = dict(
        part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert "unsafe" not in answer.headers["content-security-policy"]
    for tag, attributes, inside in re.findall(r"<(script|style)\b([^>]*)>(.*?)</", answer.text):
        assert tag == "script"
        assert "src=" in attributes
        assert not inside
    assert not re.search(r"\s(?:on\w+|style)=", answer.text)
    for link in links(server):
        assert link == "data:," or link.startswith("docs/")


def test_every_file_that_it_names_is_there_with_its_type_and_may_be_kept(server):
    named = [link for link in links(server) if link.startswith("docs/")]
    assert len(named) == 4
    kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
    for link in named:
        answer = server.http.get(f"/api/v1/{link}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kinds[link.rpartition(".")[2]]
        assert answer.headers.get_list("cache-control") == ["public, max-age=86400"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        had = {"if-none-match": answer.headers["etag"]}
        again = server.http.get(f"/api/v1/{link}", headers=had)
        assert (again.status_code, again.content) == (304, b"")


def test_the_packaged_swagger_ui_shows_3_1(server):
    text = server.http.get(f"{PAGE}/swagger-ui-bundle.js").text
    versions = re.findall(r'PACKAGE_VERSION:"(\d+)\.', text)
    assert [int(each) >= 5 for each in versions] == [True]


@pytest.mark.parametrize(
    "name",
    [
        "..%2f__init__.py",
        "%2e%2e%2fconfig.py",
        "page%2fpage.js",
        "config.py",
        "nope",
        "%00",
        "a%5cb",
    ],
)
def test_only_files_of_the_page_are_given(server, name):
    answer = server.http.get(f"{PAGE}/{name}")
    assert answer.status_code == 404
    assert list(answer.json()) == ["error"]


def test_it_can_be_switched_off_alone(make_server):
    server = make_server({"plugins": {"openapi": {"page": False}}})
    assert server.http.get(PAGE).status_code == 404
    assert server.admin.get("/api/v1/openapi.json").status_code == 200


def test_the_plugin_is_off_unless_it_is_named(make_server):
    server = make_server()
    assert server.admin.get("/api/v1/openapi.json").status_code == 404
    assert server.http.get(PAGE).status_code == 404


def test_without_the_extra_the_start_says_what_to_install(make_server, monkeypatch):
    monkeypatch.setattr(assets, "PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(BootError, match=r"plugin openapi: .*pip install 'mkdocs-swagger-ui-tag>"):
        make_server({"plugins": {"openapi": {}}})
    server = make_server({"plugins": {"openapi": {"page": False}}})
    assert server.admin.get("/api/v1/openapi.json").status_code == 200
