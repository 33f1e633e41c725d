"""Workers and keys with files: tokens on behalf of users, operations, work of the server."""

import httpx
import msgspec
import pytest

from kernel.public import (
    IDENTITY,
    RECORDS,
    Actor,
    BadRequest,
    Forbidden,
    Limits,
    WorkerOperation,
    new_delegation,
    server_actor,
)
from kernel.testing import running_server

from .support import CONTRACT, FILES, PDF, SCANS, create, manifest, refused, upload

SHOWN = {"name": "a.pdf", "type": "application/pdf", "size": len(PDF)}


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {}) as running:
        running.install(manifest(CONTRACT, SCANS))
        other = manifest(CONTRACT) | {"appId": "other"}
        running.install(other)
        yield running


def token_of(server, user, app="desk"):
    identity = server.services.get(IDENTITY)
    text = server.run(identity.issue_delegated_token, user.id, new_delegation(app, 60))
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {text}"})


def operate(server, actor, op, **data):
    operation = WorkerOperation(entity="tickets", op=op, data=data)
    records = server.services.get(RECORDS)
    return msgspec.json.decode(server.run(lambda: records.operate(actor, "desk", operation)))


def test_a_worker_sends_and_reads_files_on_behalf_of_its_user(server):
    user = server.user(permissions={"desk": ["tickets.create", "tickets.read"]})
    with token_of(server, user) as worker:
        file = worker.post(FILES, params={"name": "a.pdf"}, content=PDF).json()
        actor = Actor(user_id=user.id, delegation=new_delegation("desk", 60))
        ticket = operate(server, actor, "insert", title="x", contract=file["id"])
        assert ticket["contract"] == {"id": file["id"], **SHOWN}
        assert worker.get(f"{FILES}/{file['id']}").content == PDF
        assert user.get(f"{FILES}/{file['id']}").content == PDF
        refused(worker.get(f"/api/v1/apps/other/files/{file['id']}"), 403)
        refused(worker.post("/api/v1/apps/other/files", content=PDF), 403)


def test_an_operation_has_the_rights_of_its_user(server):
    file = upload(server.admin)
    user = server.user(permissions={"desk": ["tickets.create", "tickets.read.own"]})
    actor = Actor(user_id=user.id, delegation=new_delegation("desk", 60))
    with pytest.raises(BadRequest, match="no such file"):
        operate(server, actor, "insert", title="x", contract=file["id"])
    create(server.admin, contract=file["id"])
    with pytest.raises(BadRequest, match=r"\[1\] tickets.scans: no such file"):
        operate(server, actor, "insertMany", rows=[{"title": "y"}, {"scans": [file["id"]]}])
    limits = Limits(permissions=("desk:tickets.create.own",))
    narrow = Actor(user_id=server.admin.id, limits=limits)
    other = upload(server.user(permissions={"desk": ["tickets.create"]}))
    with pytest.raises(BadRequest, match="no such file"):
        operate(server, narrow, "insert", title="x", contract=other["id"])
    with pytest.raises(Forbidden):
        operate(server, narrow, "query")


def test_work_of_the_server_itself_is_not_limited(server):
    file = upload(server.user(permissions={"desk": ["tickets.create"]}))
    ticket = operate(server, server_actor(), "insert", title="x", contract=file["id"])
    assert ticket["contract"]["id"] == file["id"]
    with pytest.raises(BadRequest, match="no such file"):
        operate(server, server_actor(), "insert", contract="00000000-0000-4000-8000-000000000000")


def test_an_event_has_what_records_show(server):
    file = upload(server.admin)
    create(server.admin, contract=file["id"])
    hooks = server.record_events("desk.tickets")
    ticket = create(server.admin, contract=file["id"])
    [event] = [event for event in hooks.events if event.record_id == ticket["id"]]
    assert msgspec.json.decode(event.new)["contract"] == {"id": file["id"], **SHOWN}
