"""What generators refuse is in no document."""

from __future__ import annotations

import pytest

from contrib.openapi.portable import make_portable
from kernel.testing import Server

from .support import SERVER, objects


@pytest.fixture(scope="module", params=[SERVER, "/api/v1/apps/tasks/openapi.json"])
def document(request: pytest.FixtureRequest, server: Server):
    return server.admin.get(request.param).json()


def test_no_form_that_generators_refuse_is_left(document) -> None:
    for part in objects({"paths": document["paths"], "all": document["components"]["schemas"]}):
        if isinstance(part.get("type"), list):
            assert len(set(part["type"]) - {"null"}) == 1, part
        assert part.get("items") is not False
        assert "prefixItems" not in part


def test_each_component_has_a_title_of_its_own(document) -> None:
    titles = [schema["title"] for schema in document["components"]["schemas"].values()]
    assert len(titles) == len(set(titles))


def test_bodies_have_one_spelling_and_no_defaults(server: Server) -> None:
    schemas = server.admin.get(SERVER).json()["components"]["schemas"]
    for name in ("Registration", "UserChanges"):
        assert "display_name" in schemas[name]["properties"]
        assert "displayName" not in schemas[name]["properties"]
    assert set(schemas["RoleOfUser"]["properties"]) == {"userId", "role"}
    shown = schemas["UserView"]
    assert "display_name" in shown["required"]
    assert "displayName" not in (*shown["required"], *shown["properties"])
    for name in ("Registration", "QueryBody", "NewJob", "Operation"):
        members = schemas[name]["properties"].values()
        assert all("default" not in member for member in members), name
    assert "By default 1." in schemas["NewJob"]["properties"]["max_attempts"]["description"]


def test_limits_of_the_server_are_in_the_document(server: Server) -> None:
    document = server.admin.get(SERVER).json()
    schemas = document["components"]["schemas"]
    operations = schemas["Batch"]["properties"]["operations"]
    assert (operations["minItems"], operations["maxItems"]) == (1, 1000)
    assert schemas["RpcBody"]["properties"]["method"]["maxLength"] == 200
    batch = document["paths"]["/api/v1/apps/{app_id}/batch"]["post"]
    [key] = [each for each in batch["parameters"] if each["name"] == "Idempotency-Key"]
    assert (key["schema"]["minLength"], key["schema"]["maxLength"]) == (1, 255)


def test_a_query_answers_with_records_or_with_groups(document) -> None:
    [data] = [
        schema["properties"]["data"]
        for name, schema in document["components"]["schemas"].items()
        if name in ("Found", "tasks.Found")
    ]
    records, groups = data["anyOf"]
    assert records["type"] == groups["type"] == "array"
    assert records["items"] != groups["items"]


def test_forms_are_replaced_by_plainer_ones() -> None:
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    tree = {
        "paths": {},
        "components": {
            "schemas": {
                "a.b": {
                    "title": "Same",
                    "properties": {
                        "title": {"type": "string", "title": "Title", "default": None},
                        "pair": {
                            "type": "array",
                            "prefixItems": [{"type": "string"}, {"type": "null"}],
                            "items": False,
                            "minItems": 2,
                        },
                        "flag": {"enum": [True]},
                        "either": {"type": ["object", "array"]},
                        "maybe": {"type": ["string", "null"]},
                        "unit": {"anyOf": [{"type": "string"}, dict(texts)]},
                        "units": {"anyOf": [dict(texts), {"type": "null"}]},
                        "day": {"anyOf": [{"type": "string", "format": "date"}, dict(texts)]},
                    },
                },
                "a_b": {"title": "Same"},
            }
        },
    }
    make_portable(tree)
    schemas = tree["components"]["schemas"]
    assert [schema["title"] for schema in schemas.values()] == ["AB", "AB_"]
    assert schemas["a.b"]["properties"] == {
        "title": {"type": "string"},
        "pair": {
            "type": "array",
            "items": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "minItems": 2,
        },
        "flag": {"type": "boolean"},
        "either": {"anyOf": [{"type": "object"}, {"type": "array", "items": {}}]},
        "maybe": {"type": ["string", "null"]},
        "unit": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "units": {"anyOf": [texts, {"type": "null"}]},
        "day": {"anyOf": [{"type": "string"}, {"type": "object"}]},
    }
