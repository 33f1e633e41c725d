"""Catch-all routes, and folders of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from kernel.config.settings import load_config
from kernel.errors import BootError
from kernel.loading.loader import load
from kernel.testing import Postgres, running_server

PLUGIN = """
from pathlib import Path

from caudex import *
from starlette.staticfiles import StaticFiles


class UiPlugin(Plugin):
    name = "ui"

    @hookimpl
    def register_routes(self, services):
        self.files = StaticFiles(directory=Path(__file__).parent / "web", html=True)
        return [
            Route("GET", "/ui/{path*}", self.file, PUBLIC),
            Route("GET", "/inner/{path*}", self.file, ANY_USER),
            Route("GET", "/rest/{path*}", self.rest, PUBLIC),
            Route("GET", "/rest/{one}/exact", self.exact, PUBLIC),
            Route("POST", "/rest/{path*}", self.rest, PUBLIC),
        ]

    async def file(self, request):
        response = await self.files.get_response(request.path("path"), request.scope)
        response.headers["cache-control"] = "no-cache"
        return response

    async def rest(self, request):
        return reply({"rest": request.path("path")})

    async def exact(self, request):
        return reply({"one": request.path("one")})
"""
BROKEN = """
from caudex import *
from starlette.staticfiles import StaticFiles


class Broken(Plugin):
    name = "broken"

    @hookimpl
    def register_routes(self, services):
        return [ROUTE]

    async def rest(self, request): ...
"""


@pytest.fixture(scope="module")
def server(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ui")
    (folder / "ui.py").write_text(PLUGIN)
    (folder / "web/deep").mkdir(parents=True)
    (folder / "web/index.html").write_text("<html>home</html>")
    (folder / "web/deep/app.js").write_text("let x;")
    (folder / "secret.txt").write_text("secret")
    (folder / "web/link.txt").symlink_to(folder / "secret.txt")
    overrides = {
        "server": {"plugin_files": [str(folder / "ui.py")]},
        "plugins": {"openapi": {"enabled": True, "page": False}},
    }
    with running_server(postgres, overrides) as found:
        yield found


def test_a_file_has_an_etag_and_is_not_sent_twice(server):
    answer = server.http.get("/ui/deep/app.js")
    assert (answer.status_code, answer.text) == (200, "let x;")
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "no-cache"
    known = {"if-none-match": answer.headers["etag"]}
    again = server.http.get("/ui/deep/app.js", headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == answer.headers["etag"]
    assert server.http.head("/ui/deep/app.js").headers["content-length"] == "6"


def test_the_index_answers_for_its_folder(server):
    assert server.http.get("/ui/").text == "<html>home</html>"
    assert server.http.get("/ui").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/ui/none.js", "/ui/../secret.txt", "/ui/%2e%2e/secret.txt", "/ui/%2E%2E%2Fsecret.txt",
     "/ui/deep/..%2f..%2f..%2fsecret.txt", "/ui//etc/passwd", "/ui/%2fetc%2fpasswd", "/ui/link.txt",
     "/ui/a%00b"],
)  # fmt: skip
def test_nothing_outside_of_the_folder_is_sent(server, path):
    answer = server.http.get(server.url + path)
    assert answer.status_code in (400, 404), answer.text
    assert answer.json().keys() == {"error"}


def test_the_need_of_a_folder_is_checked(server):
    assert server.http.get("/inner/index.html").status_code == 401
    assert server.admin.get("/inner/index.html").text == "<html>home</html>"


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/rest/a", {"rest": "a"}), ("/rest/a/b/c", {"rest": "a/b/c"}), ("/rest/", {"rest": ""}),
        ("/rest/a/exact", {"one": "a"}), ("/rest/a/exact/b", {"rest": "a/exact/b"}),
        ("/rest/a//b", {"rest": "a//b"}),
    ],
)  # fmt: skip
def test_a_catch_all_route_takes_what_no_other_takes(server, path, answer):
    assert server.http.get(path).json() == answer


def test_other_methods_of_a_catch_all_route_are_known(server):
    assert server.http.post("/rest/a/b").json() == {"rest": "a/b"}
    refused = server.http.delete("/rest/a/b")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")


def test_it_is_declared_and_documented_like_other_routes(server):
    declared = [(plugin, f"{r.method} {r.path}") for plugin, r in server.kernel.routes]
    assert ("ui", "GET /ui/{path*}") in declared
    reported = server.admin.get("/api/v1/openapi.json").json()["paths"]["/ui/{path}"]["get"]
    assert [each["name"] for each in reported["parameters"]] == ["path"]
    assert reported["description"] == "Needs: `public`."


def broken(folder: Path, route: str) -> str:
    """The refusal of a plugin with this route."""
    (folder / "broken.py").write_text(BROKEN.replace("ROUTE", route))
    overrides = {"server.plugin_files": [str(folder / "broken.py")]}
    with pytest.raises(BootError) as refused:
        load(load_config(environ={}, overrides=overrides))
    return str(refused.value)


@pytest.mark.parametrize("path", ["/a/{path*}/b", "/{path*}{x}", "{path*}", "/a{path*}"])
def test_the_rest_of_a_path_is_at_its_end(tmp_path, path):
    said = broken(tmp_path, f"Route('GET', {path!r}, self.rest, PUBLIC)")
    assert "is no path; write it as /api/v1/things/{id}, or /ui/{path*} for all below" in said


def test_a_folder_that_is_not_there_stops_the_start(tmp_path):
    said = broken(tmp_path, 'StaticFiles(directory="/nonexistent/web")')
    assert "Directory '/nonexistent/web' does not exist" in said
