"""The document of an app: the fields of its entities, and what the caller may do."""

import jsonschema_rs
import pytest
from schemathesis.specs.openapi import definitions

from contrib.openapi.models import Document
from contrib.openapi.service import DocumentCache
from kernel.testing import Server

from .support import SERVER, TASKS, objects, operations, places, reply_schema, resolved

PATH = "/api/v1/apps/tasks/openapi.json"
ONE = "/api/v1/apps/tasks/collections/tasks"
READ = {
    "id", "title", "state", "size", "urgent", "due", "seen", "more", "external", "tags", "points",
    "scan", "order", "board", "owner", "created_at", "updated_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def document(server: Server):
    answer = server.admin.get(PATH)
    assert answer.status_code == 200, answer.text
    return answer.json()


def schema(document, name):
    return document["components"]["schemas"][name]


def test_it_is_valid_openapi_3_1_and_whole(document):
    assert document["info"]["title"] == "Tasks"
    assert document["info"]["version"] == "2.1.0"
    errors = list(definitions.OPENAPI_31_VALIDATOR.iter_errors(document))
    assert not errors, [error.message for error in errors]
    for each in document["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator(each | {"components": document["components"]})
    for each in objects(document):
        if isinstance(each.get("$ref"), str):
            assert isinstance(resolved(document, each["$ref"]), dict), each
        assert "x-caudex-shape" not in each
    ids = [reported["operationId"] for _, _, reported in operations(document)]
    assert len(ids) == len(set(ids))
    assert not [path for path in document["paths"] if "{app_id}" in path or "{entity}" in path]


def test_a_record_has_every_field_in_its_own_type(document):
    read = schema(document, "tasks.Record")
    assert set(read["properties"]) == READ | {"expand", "_etag"}
    assert read["required"] == ["id"]  # `fields` may leave out the others
    assert read["properties"]["title"] == {"type": "string"}
    assert read["properties"]["state"] == {"type": "string", "enum": ["open", "done"]}
    assert read["properties"]["size"] == {"type": ["number", "null"]}
    assert read["properties"]["due"] == {"type": ["string", "null"], "format": "date"}
    assert read["properties"]["more"] == {}
    assert read["properties"]["tags"] == {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": ["home", "work"]},
    }
    board = read["properties"]["board"]
    assert board["x-references"] == {"entity": "boards", "field": "id", "onDelete": "cascade"}
    assert "format" not in board
    assert read["properties"]["owner"]["format"] == "uuid"
    assert schema(document, "boards.Record")["properties"]["id"] == {"type": "string"}


def test_what_is_created_and_what_is_changed_differ_from_what_is_read(document):
    new = schema(document, "tasks.NewRecord")
    assert new["required"] == ["title"]
    assert new["properties"]["state"]["description"] == 'By default "open".'
    assert set(new["properties"]) == READ - {"id", "created_at", "updated_at"}
    assert "id" in schema(document, "boards.NewRecord")["properties"]
    changes = schema(document, "tasks.RecordChanges")
    assert "required" not in changes
    assert "id" not in schema(document, "boards.RecordChanges")["properties"]
    assert changes["additionalProperties"] is False


def test_a_list_is_sorted_and_filtered_by_the_fields_there_are(document):
    reported = document["paths"][ONE]["get"]
    parameters = {each["name"]: each for each in reported["parameters"]}
    assert set(parameters["sort"]["schema"]["enum"]) == READ
    assert parameters["urgent"]["schema"] == {"type": "boolean"}
    assert parameters["order"]["schema"]["enum"] == ["asc", "desc"]
    assert not parameters.keys() & {"tags", "more", "filters", "app_id", "entity"}
    assert reply_schema(reported, "200")["items"] == {"$ref": "#/components/schemas/tasks.Record"}
    [record_id, *others] = document["paths"][f"{ONE}/{{id}}"]["get"]["parameters"]
    assert [each["name"] for each in others] == ["fields", "expand", "If-None-Match"]
    assert (record_id["name"], record_id["in"], record_id["required"]) == ("id", "path", True)
    assert record_id["schema"] == {"type": "string", "format": "uuid"}


def test_groups_are_ordered_by_more_than_fields(document):
    found = schema(document, "tasks.QueryBody")["properties"]["orderBy"]
    given = next(each for each in found["anyOf"] if each.get("type") == "string")
    field, member = given["anyOf"]
    assert set(field["enum"]) == READ
    assert "enum" not in member
    assert "aggregate" in given["description"]


def test_a_where_tree_knows_fields_and_operators(document):
    reported = document["paths"][f"{ONE}/query"]["post"]
    body = reported["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator(
        {**body, "components": document["components"]}, validate_formats=True
    )
    for good in (
        {"title": "x", "size": {"$gt": 3, "$lte": 4}},
        {"$or": [{"state": None}, {"$not": {"tags": {"$contains": ["home"]}}}]},
        {"owner": {"$in": ["3fa85f64-5717-4562-b3fc-2c963f66afa6", None]}, "$and": []},
        {"more": {"any": ["thing"]}, "board": {"$like": "a%"}},
        {"board": {"$has": {"title": "x"}}, "owner": {"$has": {"username": "ada"}}},
        {"board": {"$has": {"tasks_via_board": {"$none": {"state": "open"}}}}},
    ):
        assert validator.is_valid({"where": good}), good
    for bad in (
        {"nope": 1},
        {"size": {"$like": "x"}},
        {"size": {"$near": 1}},
        {"size": {}},
        {"urgent": {"$gt": True}},
        {"$or": {"title": "x"}},
        {"owner": "x"},
        {"board": {"$has": {"nope": 1}}},
        {"board": {"$has": {"tasks_via_board": {"$has": {}}}}},
        {"title": {"$has": {}}},
    ):
        assert not validator.is_valid({"where": bad}), bad
    assert reply_schema(reported, "200") == {"$ref": "#/components/schemas/tasks.Found"}


def test_what_the_document_refuses_the_server_refuses(server, document):
    reported = document["paths"][ONE]["post"]
    body = reported["requestBody"]["content"]["application/json"]["schema"]
    validator = jsonschema_rs.Draft202012Validator(
        {**body, "components": document["components"]}, validate_formats=True
    )
    good = {"title": "x", "size": 2.5, "tags": ["home"], "due": "2031-01-02", "more": [1, None]}
    assert validator.is_valid(good)
    assert server.admin.post(ONE, json=good).status_code == 201
    for change in (
        {"title": None}, {"state": "gone"}, {"size": []}, {"tags": "home"}, {"tags": ["x"]},
        {"due": "soon"}, {"owner": "x"}, {"nope": 1}, {"urgent": 1}, {"points": [True]},
    ):  # fmt: skip
        assert not validator.is_valid(good | change), change
        assert server.admin.post(ONE, json=good | change).status_code == 400, change


def test_headers_files_and_other_replies_are_reported(document):
    """What types of routes cannot say; the fuzz test compares it with the server."""

    def headers(method: str, path: str) -> list[str]:
        reported = document["paths"][path][method]
        return [each["name"] for each in reported.get("parameters", ()) if each["in"] == "header"]

    one = f"{ONE}/{{id}}"
    keyed = [f"{ONE}/{name}" for name in ("bulk", "import", "update-where", "delete-where")]
    for path in (ONE, "/api/v1/apps/tasks/batch", *keyed):
        assert headers("post", path) == ["Idempotency-Key"], path
    assert headers("get", one) == ["If-None-Match"]
    assert headers("patch", one) == headers("delete", one) == ["If-Match"]
    files = {"text/csv", "application/x-ndjson"}
    for reported in (document["paths"][ONE]["get"], document["paths"][f"{ONE}/query"]["post"]):
        assert set(reported["responses"]["200"]["content"]) == {"application/json", *files}
    imported = document["paths"][f"{ONE}/import"]["post"]["requestBody"]
    assert set(imported["content"]) == {"multipart/form-data"}
    for media_type in (*files, "text/tab-separated-values"):
        assert media_type in imported["description"]
    read = document["paths"][one]["get"]["responses"]
    assert "ETag" in read["200"]["headers"]
    assert "ETag" in read["304"]["headers"]
    assert "ETag" in document["paths"][ONE]["post"]["responses"]["201"]["headers"]
    met = reply_schema(document["paths"][f"{ONE}/bulk"]["post"], "200")["properties"]["data"]
    assert met["items"]["properties"]["record"] == {"$ref": "#/components/schemas/tasks.Record"}


def test_linked_records_are_reported(document):
    linked = schema(document, "tasks.Record")["properties"]["expand"]["properties"]
    assert linked["board"]["anyOf"][0] == {"$ref": "#/components/schemas/boards.Record"}
    assert linked["owner"]["anyOf"][0] == {"type": "object"}
    linked = schema(document, "boards.Record")["properties"]["expand"]["properties"]
    assert linked == {
        "tasks_via_board": {"type": "array", "items": {"$ref": "#/components/schemas/tasks.Record"}}
    }


def test_no_link_is_asked_to_what_the_caller_may_not_read(holder):
    reported = holder("tasks.read", "boards.create").get(PATH).json()
    assert set(schema(reported, "tasks.Record")["properties"]["expand"]["properties"]) == {"owner"}
    where = schema(reported, "tasks.Where")["properties"]
    assert where["board"] == {"$ref": "#/components/schemas/Where.text"}


def test_a_reader_sees_only_what_reads(holder):
    user = holder("tasks.read")
    seen = places(user.get(PATH).json())
    records = {place for place in seen if "/collections/" in place}
    one = f"{ONE}/{{id}}"
    single = {f"GET {one}", f"GET {one}/history"}
    assert records == single | {f"GET {ONE}", f"GET {ONE}/feed", f"POST {ONE}/query"}
    assert "POST /api/v1/apps/tasks/rpc" in seen
    assert "POST /api/v1/apps/tasks/jobs" in seen
    assert not [place for place in seen if "/secrets" in place or "/deploy" in place]
    assert "DELETE /api/v1/apps/tasks" not in seen


def test_nothing_is_notified_of_entities_that_the_caller_may_not_touch(holder):
    text = holder("tasks.create").get(PATH).text
    assert "boards.Record" not in text
    assert '"boards"' in text  # as what a link of a task leads to


def test_rights_over_own_records_are_reported(holder):
    document = holder("tasks.update.own").get(PATH).json()
    assert {place for place in places(document) if "/collections/" in place} == {
        f"PATCH {ONE}/{{id}}",
        f"PUT {ONE}/{{id}}",
        f"POST {ONE}/update-where",
    }
    reported = document["paths"][f"{ONE}/{{id}}"]["patch"]
    assert reported["x-permission"] == "tasks.update.own"
    assert "Only records that the caller created." in reported["description"]
    assert "Needs: `tasks.update`." in reported["description"]


LEFT_OUT = ("/logs", "/feed", "{id}/link", "/exports/{id}/file")
"""Replies without an end, and links, which are 403 for every caller without their signature."""


def test_what_it_shows_a_caller_the_caller_may(server, holder):
    user = holder("tasks.read", "boards.create")
    every = {
        (method, path)
        for method, path, reported in operations(server.admin.get(PATH).json())
        # What any user may ask for, the handler judges.
        if not path.endswith(LEFT_OUT) and reported["x-permission"] != "any user"
    }
    own = {(m, p) for m, p, _ in operations(user.get(PATH).json())}
    assert every - own
    for method, path in sorted(every):
        answer = user.request(method, path.replace("{", "").replace("}", ""), content=b"{")
        assert (answer.status_code == 403) == ((method, path) not in own), f"{method} {path}"


def test_it_refuses_as_every_route_of_an_app(server, holder):
    assert server.http.get(PATH).status_code == 401
    assert server.user().get(PATH).status_code == 403
    assert server.admin.get("/api/v1/apps/nope/openapi.json").status_code == 404
    assert server.user().get("/api/v1/apps/nope/openapi.json").status_code == 404
    assert server.admin.get("/api/v1/apps/core/openapi.json").status_code == 404


def test_it_follows_the_app_and_the_rights_at_once(server, holder):
    user = holder()
    admin, app = server.admin, TASKS | {"appId": "notes", "name": "Notes"}
    assert admin.post("/api/v1/apps", json=app | {"dataContract": []}).status_code == 200
    path = "/api/v1/apps/notes/openapi.json"
    first = admin.get(path)
    assert not [each for each in places(first.json()) if "/collections/" in each]
    entity = {"entityName": "notes", "fields": [{"name": "text", "type": "text"}]}
    assert admin.post("/api/v1/apps", json=app | {"dataContract": [entity]}).status_code == 200
    second = admin.get(path)
    assert second.headers["etag"] != first.headers["etag"]
    assert "text" in schema(second.json(), "notes.Record")["properties"]
    body = {"name": "reader", "permissions": ["notes.read"]}
    assert admin.post("/api/v1/apps/notes/roles", json=body).status_code == 200
    assert user.get(path).status_code == 403
    body = {"userId": user.id, "role": "reader"}
    assert admin.post("/api/v1/apps/notes/roles/assign", json=body).status_code == 200
    assert "GET /api/v1/apps/notes/collections/notes" in places(user.get(path).json())


def test_the_same_rights_share_a_document_and_others_do_not(server, holder):
    alike = [holder("tasks.read").get(PATH).headers["etag"] for _ in range(2)]
    assert alike[0] == alike[1]
    assert holder("tasks.update").get(PATH).headers["etag"] != alike[0]


def test_documents_that_are_kept_have_a_bound():
    kept = DocumentCache(max_count=3, max_bytes=100)
    for number in range(5):
        kept.put(number, Document(b"x" * 30, ""))
    assert [kept.get(number) is not None for number in range(5)] == [False, False, True, True, True]
    kept.get(2)
    kept.put(5, Document(b"x" * 60, ""))
    assert [kept.get(number) is not None for number in (2, 3, 4, 5)] == [True, False, False, True]
    kept.put(6, Document(b"x" * 101, ""))
    assert not any(kept.get(number) for number in range(7))


def test_an_app_of_many_fields_is_reported_whole(server):
    fields = [{"name": f"field_{number}", "type": "text"} for number in range(100)]
    contract = [{"entityName": f"entity_{number}", "fields": fields} for number in range(20)]
    app = {"appId": "large", "name": "Large", "dataContract": contract}
    assert server.admin.post("/api/v1/apps", json=app, timeout=120).status_code == 200
    answer = server.admin.get("/api/v1/apps/large/openapi.json", timeout=120)
    assert answer.status_code == 200
    assert len(answer.json()["components"]["schemas"]["entity_19.Record"]["properties"]) == 105


def test_the_server_document_speaks_of_records_in_general(server):
    text = server.admin.get(SERVER).text
    assert "x-caudex-shape" not in text
    assert "tasks.Record" not in text
