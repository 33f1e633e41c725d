"""The document of the server: every route, as it is."""

import re

import jsonschema_rs
import msgspec
import pytest
from schemathesis.specs.openapi import definitions

from contrib.openapi.documents import of_server
from contrib.openapi.operations import operation
from contrib.openapi.schemas import Schemas
from docs.pages.code import with_contrib
from kernel.contracts.access import ANY_USER, APP_USER, PUBLIC
from kernel.contracts.server import Route
from kernel.testing import Server
from kernel.web.replies import reply

from .support import SERVER, objects, operations, places, reply_schema, resolved


@pytest.fixture(scope="module")
def document(server: Server):
    answer = server.user().get(SERVER)
    assert answer.status_code == 200
    return answer.json()


def test_it_is_valid_openapi_3_1(document):
    assert document["openapi"].startswith("3.1.")
    errors = list(definitions.OPENAPI_31_VALIDATOR.iter_errors(document))
    assert not errors, [error.message for error in errors]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.Draft202012Validator(schema | {"components": document["components"]})


def test_every_reference_leads_somewhere_and_every_component_is_used(document):
    used = {each["$ref"] for each in objects(document) if isinstance(each.get("$ref"), str)}
    for reference in used:
        assert isinstance(resolved(document, reference), dict), reference
    for name in document["components"]["schemas"]:
        assert f"#/components/schemas/{name}" in used, name


def path_of(route: Route) -> str:
    """Return the path of a route as a document has it."""
    return route.path.replace("*}", "}")


def test_it_has_every_route_of_every_plugin_once(server, document):
    routes = [route for _, route in server.kernel.routes]
    assert places(document) == {f"{route.method} {path_of(route)}" for route in routes}
    ids = [reported["operationId"] for _, _, reported in operations(document)]
    assert len(ids) == len(set(ids)) > 50
    assert all(re.fullmatch(r"[a-z]\w+", each) for each in ids)


def test_each_operation_says_who_may_and_how_it_refuses(server, document):
    for plugin, route in server.kernel.routes:
        reported = document["paths"][path_of(route)][route.method.lower()]
        assert reported["x-permission"] == str(route.needs)
        assert reported["tags"] == [plugin]
        public = route.needs.kind == "public"
        assert reported["security"] == ([] if public else [{"bearer": []}, {"basic": []}])
        assert ("401" in reported["responses"]) >= (not public)
        if route.needs.kind not in ("public", "user"):
            assert {"401", "403"} <= reported["responses"].keys()
        for status in (each for each in reported["responses"] if each >= "400"):
            if status == "416":  # a range has no body
                continue
            error = resolved(document, reported["responses"][status]["$ref"])
            schema = error["content"]["application/json"]["schema"]
            name = "Conflict" if status == "412" else "Error"
            assert schema == {"$ref": f"#/components/schemas/{name}"}


def test_parameters_bodies_and_replies_are_the_declared_ones(document):
    reported = document["paths"]["/api/v1/apps/{app_id}/jobs"]["get"]
    parameters = {each["name"]: each for each in reported["parameters"]}
    assert list(parameters) == ["app_id", "status", "limit", "before"]
    assert parameters["app_id"]["in"] == "path"
    assert parameters["app_id"]["required"] is True
    assert parameters["limit"]["schema"] == {"type": "integer", "minimum": 1, "default": 100}
    assert parameters["status"]["schema"]["enum"] == sorted(
        ["pending", "running", "completed", "failed", "cancelled"]
    )
    assert reply_schema(reported, "200")["items"] == {"$ref": "#/components/schemas/Job"}
    reported = document["paths"]["/api/v1/apps/{app_id}/jobs"]["post"]
    body = reported["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/NewJob"}
    assert reply_schema(reported, "201") == {"$ref": "#/components/schemas/Accepted"}
    assert {"400", "413", "404"} <= reported["responses"].keys()


def test_what_no_type_can_say_is_laid_over(document):
    reported = document["paths"]["/api/v1/apps/{app_id}/logs"]["get"]
    assert list(reported["responses"]["200"]["content"]) == ["text/event-stream"]
    reported = document["paths"]["/api/v1/apps/{app_id}/deploy"]["post"]
    assert list(reported["requestBody"]["content"]) == ["multipart/form-data"]


def test_every_route_of_contrib_has_a_summary():
    for kernel in with_contrib():
        for plugin, route in kernel.routes:
            reported = operation(plugin, route, Schemas([route]))
            assert re.match(r"[A-Z][a-z]+ ", reported["summary"]), f"{route.method} {route.path}"


def test_it_needs_a_token_unless_it_is_public(server, make_server):
    assert server.http.get(SERVER).status_code == 401
    public = make_server({"plugins": {"openapi": {"public": True}}})
    answer = public.http.get(SERVER)
    assert answer.status_code == 200
    assert answer.json()["paths"]["/api/v1/openapi.json"]["get"]["security"] == []
    assert public.http.get("/api/v1/apps/x/openapi.json").status_code == 401


def test_a_reader_who_has_it_gets_no_second_copy(server):
    user = server.user()
    first = user.get(SERVER)
    assert first.headers.get_list("cache-control") == ["private, no-cache"]
    again = user.get(SERVER, headers={"if-none-match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    for path, item in first.json()["paths"].items():
        if "openapi.json" in path or "/docs" in path:
            reported = item["get"]["responses"]["304"]
            assert reported["headers"].keys() == {"X-Request-Id"}
            assert "content" not in reported
    assert again.headers["etag"] == first.headers["etag"]
    assert user.get(SERVER, headers={"if-none-match": '"x"'}).status_code == 200


def test_a_redirect_has_no_content_unless_the_route_says_so():
    moved = Route("GET", "/api/v1/moved", bare, PUBLIC, status=302)
    reported = of_server([("things", moved)], Schemas([moved]))["paths"]["/api/v1/moved"]["get"]
    assert reported["responses"]["302"].keys() == {"description", "headers"}


class Thing(msgspec.Struct):
    """A thing."""

    name: str


class Sought(msgspec.Struct):
    """What is looked for."""

    name: str
    most: int | None = None


async def list_things(request):
    """List things.

    The latest last.
    """
    return reply([])


async def bare(request):
    return reply({})


def test_routes_of_third_parties_are_reported_by_what_they_declare(caplog):
    routes = [
        Route("GET", "/api/v1/things", list_things, ANY_USER, returns=list[Thing], query=Sought),
        Route("GET", "/api/v1/odd/{id}", bare, PUBLIC, returns=object()),
        Route("PATCH", "/api/v1/apps/{app_id}/bare", bare, APP_USER, errors=(429,)),
    ]
    tree = of_server([("things", route) for route in routes], Schemas(routes))
    assert not list(definitions.OPENAPI_31_VALIDATOR.iter_errors(tree))
    reported = tree["paths"]["/api/v1/things"]["get"]
    assert reported["summary"] == "List things."
    assert reported["description"] == "The latest last.\n\nNeeds: `any user`."
    assert [(each["name"], each["required"]) for each in reported["parameters"]] == [
        ("name", True),
        ("most", False),
    ]
    assert tree["components"]["schemas"]["Thing"]["required"] == ["name"]
    assert reply_schema(tree["paths"]["/api/v1/odd/{id}"]["get"], "200") == {}
    reported = tree["paths"]["/api/v1/apps/{app_id}/bare"]["patch"]
    assert reported["summary"] == "PATCH /api/v1/apps/{app_id}/bare"
    assert reported["responses"].keys() == {"200", "401", "403", "404", "429", "503"}
