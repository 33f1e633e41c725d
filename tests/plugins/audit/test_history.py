"""The history of a record."""

import pytest

from kernel.testing import Server

APP = {
    "appId": "notes",
    "name": "Notes",
    "dataContract": [
        {
            "entityName": "pages",
            "fields": [
                {"name": "title", "type": "text", "required": True},
                {"name": "stars", "type": "number"},
                {"name": "extra", "type": "json"},
            ],
        }
    ],
}
PAGES = "/api/v1/apps/notes/collections/pages"


@pytest.fixture(scope="module")
def notes(server: Server) -> Server:
    server.install(APP)
    return server


def test_each_change_shows_what_was_there_before(notes):
    record = notes.admin.post(PAGES, json={"title": "one"}).json()
    headers = {"x-request-id": "the-second"}
    path = f"{PAGES}/{record['id']}"
    notes.admin.patch(path, json={"title": "two", "stars": 3}, headers=headers)
    last, first = notes.admin.get(f"{path}/history").json()
    assert (last["operation"], last["actor"]) == ("UPDATE", notes.admin.id)
    assert last["request"] == "the-second"
    assert last["changes"] == {"title": ["one", "two"], "stars": [None, 3]}
    assert (first["operation"], first["changes"]) == ("INSERT", {"title": [None, "one"]})


def test_digits_stay_exact(notes):
    digits = "123456789012345678901234567890"
    body = '{"title": "n", "extra": {"n": ' + digits + "}}"
    made = notes.admin.post(PAGES, content=body, headers={"content-type": "application/json"})
    if made.status_code == 400:
        pytest.skip("a json field takes no such number")
    assert digits in notes.admin.get(f"{PAGES}/{made.json()['id']}/history").text


def test_pages_are_followed_by_the_last_id(notes):
    record = notes.admin.post(PAGES, json={"title": "0"}).json()
    path = f"{PAGES}/{record['id']}"
    for n in range(1, 5):
        notes.admin.patch(path, json={"title": str(n)})
    first = notes.admin.get(f"{path}/history", params={"limit": 2}).json()
    rest = notes.admin.get(f"{path}/history", params={"before": first[-1]["id"]}).json()
    assert [each["changes"]["title"][1] for each in first + rest] == ["4", "3", "2", "1", "0"]
    assert notes.admin.get(f"{path}/history", params={"befor": 1}).status_code == 400


def test_who_may_not_read_the_record_sees_no_history(notes):
    record = notes.admin.post(PAGES, json={"title": "secret"}).json()
    path = f"{PAGES}/{record['id']}/history"
    assert notes.user().get(path).status_code == 403
    narrow = notes.user(permissions={"notes": ["pages.read.own"]})
    assert narrow.get(path).status_code == 404
    assert notes.http.get(path).status_code == 401
