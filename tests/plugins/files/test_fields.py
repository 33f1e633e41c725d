"""Fields that become managed, are retired and pruned; the plugin that is off; many holders."""

import uuid

import pytest

from kernel.testing import running_server

from .support import CONTRACT, FILES, PDF, SCANS, TICKETS, create, field, manifest, refused, upload


@pytest.fixture(scope="module")
def server(postgres):
    with running_server(postgres, {}) as running:
        yield running


@pytest.fixture
def admin(server):
    if server.admin.get("/api/v1/apps/desk").status_code == 200:
        assert server.admin.delete("/api/v1/apps/desk").status_code == 200
    server.install(manifest(CONTRACT, SCANS))
    return server.admin


def holdings(server):
    return server.sql(
        "select entity, field, ended_at is null from caudex_files.holdings order by 1, 2"
    )


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        (field("x", "[file]"), "maxSize, as in"),
        (field("x", maxSize="many"), "maxSize: must be a number"),
        (field("x", maxSize=0), "maxSize: must be a number"),
        (field("x", maxSize=True), "maxSize: must be a number"),
        (field("x", types=["images"]), "types: 'images' is no media type"),
        (field("x", types="image/*"), "types: must be a list"),
        (field("x", maxSize=1, default_value="a"), "default_value: is not for a managed file"),
        (field("x", maxSize=1, enum_values=["a"]), "enum_values"),
        (field("x", maxSize=1, generated={"$lower": "title"}), "generated"),
        (field("x", "text", generated={"$coalesce": ["contract"]}), "managed file"),
    ],
)
def test_a_manifest_with_a_wrong_file_field_is_refused(server, admin, declared, problem):
    refused(admin.post("/api/v1/apps", json=manifest(CONTRACT, declared)), 400, problem)


def test_a_file_is_not_unique_and_not_searched(server, admin):
    raw = manifest(CONTRACT)
    raw["dataContract"][0]["indexes"] = [{"columns": ["contract"], "unique": True}]
    refused(admin.post("/api/v1/apps", json=raw), 400, "unique: is not for a managed file")
    raw = manifest(CONTRACT)
    raw["dataContract"][0]["search"] = {"fields": ["contract"]}
    refused(admin.post("/api/v1/apps", json=raw), 400, "only fields of type text are searched")


def test_the_app_says_what_its_fields_take(server, admin):
    server.install(manifest(field("contract", maxSize="2kB", types=["image/*"])))
    [described] = [
        each for each in admin.get("/api/v1/apps/desk").json()["entities"][0]["fields"]
        if each["name"] == "contract"
    ]  # fmt: skip
    assert described["maxSize"] == 2000
    assert described["types"] == ["image/*"]
    verdict = admin.post("/api/v1/apps/schema/verify", json=manifest(CONTRACT)).json()
    assert (
        verdict["changes"]
        == [{"entity": "tickets", "change_type": "retire_column", "column": "scans", "detail": ""}]
        or verdict["compliant"]
    )


def test_a_field_that_becomes_managed_keeps_files_and_refuses_other_values(server, admin):
    server.install(manifest(CONTRACT, field("other", "uuid")))
    file = upload(admin)
    create(admin, other=file["id"])
    create(admin, other=str(uuid.uuid4()))
    managed = manifest(CONTRACT, field("other", maxSize=100))
    refused(admin.post("/api/v1/apps", json=managed), 400, "tickets.other: 1 values are no files")
    server.sql("delete from desk.tickets where other <> %s", file["id"])
    server.install(managed)
    assert holdings(server) == [("tickets", "other", True)]
    [ticket] = admin.get(TICKETS, params={"other": file["id"]}).json()
    assert ticket["other"]["name"] == "a.pdf"

    server.install(manifest(CONTRACT, field("other", "uuid")))
    assert holdings(server) == [("tickets", "other", False)]
    server.install(managed)
    server.install(manifest(CONTRACT, field("other", "text")))
    assert holdings(server) == [("tickets", "other", False)]
    [ticket] = admin.get(TICKETS, params={"other": file["id"]}).json()
    assert ticket["other"] == file["id"]


def test_a_retired_field_holds_its_files_until_it_is_pruned(server, admin):
    file = upload(admin)
    create(admin, scans=[file["id"]])
    server.install(manifest(CONTRACT))
    assert holdings(server) == [("tickets", "scans", True)]
    refused(admin.get(f"{FILES}/{file['id']}"), 404)
    server.install(manifest(CONTRACT, SCANS))
    assert admin.get(f"{FILES}/{file['id']}").content == PDF
    server.install(manifest(CONTRACT))
    answer = admin.post("/api/v1/apps/desk/schema/prune", json={})
    assert answer.status_code == 200, answer.text
    assert holdings(server) == [("tickets", "scans", False)]


def test_the_files_of_an_app_go_with_it(server, admin):
    file = upload(admin)
    create(admin, contract=file["id"])
    assert admin.delete("/api/v1/apps/desk").status_code == 200
    assert not server.sql("select 1 from caudex_files.files")
    assert not server.sql("select 1 from caudex_files.fields")
    server.install(manifest(CONTRACT))
    refused(admin.get(f"{FILES}/{file['id']}"), 404)
    refused(admin.post(TICKETS, json={"contract": file["id"]}), 400, "no such file")


def test_a_file_of_another_app_is_none(server, admin):
    other = manifest(CONTRACT) | {"appId": "other"}
    server.install(other)
    answer = admin.post("/api/v1/apps/other/files", content=PDF)
    file_id = answer.json()["id"]
    refused(admin.get(f"{FILES}/{file_id}"), 404)
    refused(admin.post(TICKETS, json={"contract": file_id}), 400, "no such file")
    with pytest.raises(Exception, match="no such file"):
        server.sql("insert into desk.tickets (contract) values (%s)", file_id)
    assert admin.delete("/api/v1/apps/other").status_code == 200


def test_a_file_of_very_many_records_is_still_read_by_who_may_read_one(server, admin):
    file = upload(admin)
    rows = [{"title": str(number), "scans": [file["id"]]} for number in range(30)]
    assert admin.post(f"{TICKETS}/bulk", json=rows).status_code == 201
    reader = server.user(permissions={"desk": ["tickets.read.own", "tickets.create"]})
    refused(reader.get(f"{FILES}/{file['id']}"), 404)
    other = server.user(permissions={"desk": ["tickets.read"]})
    assert other.get(f"{FILES}/{file['id']}").content == PDF


def test_a_thousand_files_in_a_field_and_no_more(server, admin):
    file = upload(admin)
    too_many = [file["id"]] * 1001
    refused(admin.post(TICKETS, json={"scans": too_many}), 400, "at most 1000 files")
    assert len(create(admin, scans=too_many[:1000])["scans"]) == 1000


def test_a_page_is_one_statement_whatever_files_it_shows(server, admin):
    files = [upload(admin, b"%d" % number) for number in range(5)]
    for file in files:
        create(admin, contract=file["id"], scans=[each["id"] for each in files])
    page = admin.get(TICKETS, params={"limit": 5}).json()
    assert [len(record["scans"]) for record in page] == [5] * 5
    assert {record["contract"]["id"] for record in page} == {file["id"] for file in files}


def test_without_the_plugin_records_show_ids(postgres):
    with running_server(postgres, {"plugins": {"files": {"enabled": False}}}) as off:
        off.install(manifest(CONTRACT, SCANS))
        admin = off.admin
        file_id = str(uuid.uuid4())
        ticket = create(admin, contract=file_id, scans=[file_id])
        assert (ticket["contract"], ticket["scans"]) == (file_id, [file_id])
        text = admin.get(TICKETS, headers={"accept": "text/csv"}).text
        assert f'{file_id},"[""{file_id}""]"' in text
        assert admin.post(FILES, content=PDF).status_code == 404
