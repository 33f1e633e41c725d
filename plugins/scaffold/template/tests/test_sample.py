"""The plugin on a real server and database: the fixtures come with Caudex."""

from __future__ import annotations

import pytest
from caudex import BootError, hookspecs
from kernel.testing import MakeServer, Server, ServerOptions

from caudex_sample import SamplePlugin

NOTES = "/api/v1/sample/notes"
WRITE = {"core": ["sample.write"]}


@pytest.fixture(scope="module")
def server_options() -> ServerOptions:
    """What the fixture `server` is made of."""
    return {"plugins": [SamplePlugin]}


def test_users_with_the_permission_write_and_all_users_read(server: Server) -> None:
    writer = server.user(permissions=WRITE)
    response = writer.post(NOTES, json={"text": "Tea at four"})
    assert response.status_code == 201
    note = response.json()
    assert note["author"] == writer.id
    assert server.user().get(NOTES).json()[0] == note


def test_others_are_refused(server: Server) -> None:
    assert server.user().post(NOTES, json={"text": "Me too"}).status_code == 403
    assert server.http.get(NOTES).status_code == 401


@pytest.mark.parametrize("body", [{}, {"text": ""}, {"text": 1}, {"text": "x", "more": 1}, []])
def test_a_body_that_breaks_the_rules_is_refused(server: Server, body: object) -> None:
    answer = server.admin.post(NOTES, json=body)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])


def test_a_note_is_removed_by_its_author_or_an_admin(server: Server) -> None:
    author = server.user(permissions=WRITE)
    stranger = server.user(permissions=WRITE)
    first = f"{NOTES}/{author.post(NOTES, json={'text': '1'}).json()['id']}"
    second = f"{NOTES}/{author.post(NOTES, json={'text': '2'}).json()['id']}"
    assert stranger.delete(first).status_code == 403
    assert author.delete(first).status_code == 200
    assert author.delete(first).status_code == 404
    assert server.admin.delete(second).status_code == 200
    assert server.admin.delete(f"{NOTES}/x").status_code == 400


def test_a_new_app_is_welcomed(server: Server) -> None:
    recorder = server.record_hooks(hookspecs.event_committed)
    server.install({"appId": "crm", "name": "CRM"})
    recorder.wait(plugin="sample")
    assert server.admin.get(NOTES).json()[0]["text"] == "There is a new app: crm"


def test_how_much_is_shown_is_configured(make_server: MakeServer) -> None:
    server = make_server(
        {"plugins": {"sample": {"most": 1, "welcome": False}}},
        plugins=[SamplePlugin],
    )
    for text in ("One", "Two"):
        server.admin.post(NOTES, json={"text": text})
    server.install({"appId": "crm", "name": "CRM"})
    assert [note["text"] for note in server.admin.get(NOTES).json()] == ["Two"]


def test_a_mistake_in_the_configuration_stops_the_start(make_server: MakeServer) -> None:
    config = {"plugins": {"sample": {"mots": 1}}}
    with pytest.raises(BootError, match="unknown key 'mots'"):
        make_server(config, plugins=[SamplePlugin])


def test_switched_off_it_leaves_no_route(make_server: MakeServer) -> None:
    config = {"plugins": {"sample": {"enabled": False}}}
    server = make_server(config, plugins=[SamplePlugin])
    assert server.admin.get(NOTES).status_code == 404
