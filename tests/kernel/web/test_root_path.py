"""A proxy that serves the server under a path, as `/tools/caudex`: `[server] root_path`."""

import re

import pytest

from kernel.testing import Server, ServerOptions

ROOT = "/tools/caudex"
NOTES = {
    "appId": "notes",
    "name": "Notes",
    "dataContract": [{"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}],
}


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    return {"config": {"server": {"root_path": ROOT}, "plugins": {"openapi": {}}}}


def test_routes_answer_below_the_prefix_and_without_it(server: Server) -> None:
    for path in (f"{ROOT}/health", "/health"):
        assert server.http.get(path).json() == {"status": "ok"}
    for path in (f"{ROOT}x/health", ROOT, f"{ROOT}{ROOT}/health"):
        assert server.http.get(path).status_code == 404


def test_links_lead_below_the_prefix(server: Server) -> None:
    server.install(NOTES)
    path = f"{ROOT}/api/v1/apps/notes/collections/notes"
    server.admin.post(f"{path}/bulk", json=[{"text": "a"}, {"text": "b"}]).raise_for_status()
    for first_page in (f"{path}?limit=1", f"{ROOT}/api/v1/users?limit=1"):
        answer = server.admin.get(first_page)
        link = re.fullmatch(r'<(.*)>; rel="next"', answer.headers["link"])
        assert link
        assert link[1].startswith(first_page.partition("?")[0])
        assert server.admin.get(link[1]).status_code == 200


def test_an_encoded_slash_stays_a_part_of_an_id(server: Server) -> None:
    server.install(NOTES)
    answer = server.admin.get(f"{ROOT}/api/v1/apps/notes/collections/notes/a%2Fb")
    assert answer.status_code in (400, 404)
    assert "no such route" not in answer.text


def test_the_root_leads_a_browser_to_the_console(server: Server) -> None:
    answer = server.http.get(f"{ROOT}/", headers={"accept": "text/html"}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (307, f"{ROOT}/console/")


def test_the_cookie_of_the_console_is_sent_below_the_prefix_only(server: Server) -> None:
    body = {"refreshToken": server.user().tokens["refreshToken"]}
    answer = server.http.post(
        f"{ROOT}/api/v1/console/session", json=body, headers={"sec-fetch-site": "same-origin"}
    )
    assert f"; Path={ROOT}/api/v1/console/session;" in answer.headers["set-cookie"]
    server.http.cookies.clear()


def test_the_documents_name_the_prefix(server: Server) -> None:
    server.install(NOTES)
    for path in ("/api/v1/openapi.json", "/api/v1/apps/notes/openapi.json"):
        document = server.admin.get(ROOT + path).json()
        assert document["servers"] == [{"url": f"{ROOT}/"}]
