"""What an app shows of itself: to each caller only what exists for that caller."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kernel.testing import Client, Postgres, Server, running_server

APP = "/api/v1/apps/clinic"
ACTIONS = ("create", "read", "update", "delete")
DOCTOR = {"read": "doctor", "write": "doctor"}
MANIFEST: dict[str, Any] = {
    "appId": "clinic",
    "name": "Clinic",
    "dataContract": [
        {
            "entityName": "wards",
            "fields": [{"name": "remark", "type": "text", "default_value": "ward default"}],
        },
        {
            "entityName": "patients",
            "fields": [
                {"name": "name", "type": "text", "required": True},
                {
                    "name": "diagnosis",
                    "type": "text",
                    "enum_values": ["enum flu", "enum cold"],
                    "default_value": "enum flu",
                    "access": DOCTOR,
                },
                {"name": "dose", "type": "number", "default_value": 4711, "access": DOCTOR},
                {"name": "digest", "type": "text", "generated": {"$lower": "diagnosis"}},
                {"name": "ward_id", "type": "entity_link", "references": {"entity": "wards"}},
                {"name": "nurse_id", "type": "entity_link", "references": {"entity": "core:users"}},
                {"name": "note", "type": "text", "access": {"write": "doctor"}},
            ],
            "indexes": [
                {"columns": ["name"], "unique": True},
                {"columns": ["name", "diagnosis"], "unique": True},
            ],
            "search": {"fields": ["diagnosis"]},
        },
        {
            "entityName": "invoices",
            "fields": [
                {"name": "amount", "type": "number", "default_value": 815},
                {"name": "patient_id", "type": "entity_link", "references": {"entity": "patients"}},
                {"name": "discount", "type": "number", "access": {"read": "doctor"}},
            ],
        },
    ],
}
ENTITIES = ("wards", "patients", "invoices")


@pytest.fixture(scope="module")
def clinic(postgres: Postgres) -> Any:
    with running_server(postgres, {"plugins": {"openapi": {}}}) as running:
        running.install(MANIFEST)
        yield running


def described(client: Client) -> dict[str, Any]:
    """The entities of the app by name, as a caller sees them."""
    answer = client.get(APP)
    assert answer.status_code == 200, answer.text
    return {entity["name"]: entity for entity in answer.json()["entities"]}


def names(entity: dict[str, Any]) -> list[str]:
    return [field["name"] for field in entity["fields"]]


def user(server: Server, *permissions: str) -> Client:
    return server.user(permissions={"clinic": list(permissions)})


def test_an_entity_without_a_right_does_not_exist(clinic: Server):
    reader = user(clinic, "patients.read")
    assert list(described(reader)) == ["patients"]
    text = reader.get(APP).text
    document = reader.get(f"{APP}/openapi.json").text
    for hidden in ("invoices", "ward default", "815", "amount", "remark"):
        assert hidden not in text
        assert hidden not in document
    assert list(described(clinic.admin)) == list(ENTITIES)
    assert described(user(clinic, "core:logs.read")) == {}


@pytest.mark.parametrize("key", ["patients.create", "patients.update.own", "patients.delete"])
def test_an_entity_with_any_right_is_described(clinic: Server, key: str):
    assert list(described(user(clinic, key))) == ["patients"]


def test_an_unreadable_field_does_not_exist_with_all_that_is_made_of_it(clinic: Server):
    reader = user(clinic, "patients.read", "patients.create", "patients.update")
    entity = described(reader)["patients"]
    assert names(entity) == ["name", "ward_id", "nurse_id", "note"]
    assert entity["unique"] == [["id"], ["name"]]
    assert entity["search"] is False
    text = reader.get(APP).text
    document = reader.get(f"{APP}/openapi.json").text
    for hidden in ("diagnosis", "enum flu", "enum cold", "dose", "4711", "digest"):
        assert hidden not in text
        assert hidden not in document
    admin = described(clinic.admin)["patients"]
    assert admin["unique"] == [["id"], ["name"], ["name", "diagnosis"]]
    assert admin["search"] is True
    doctor = user(clinic, "patients.read", "patients.diagnosis.read")
    entity = described(doctor)["patients"]
    assert names(entity) == ["name", "diagnosis", "digest", "ward_id", "nurse_id", "note"]
    assert entity["search"] is True


def test_a_link_names_its_target_as_who_may_set_it_must_know(clinic: Server):
    client = user(clinic, "patients.read")
    fields = described(client)["patients"]["fields"]
    links = {f["name"]: f["references"] for f in fields if f["type"] == "entity_link"}
    assert links == {"ward_id": "wards", "nurse_id": "core:users"}
    record = client.get(f"{APP}/openapi.json").json()["components"]["schemas"]["patients.Record"]
    assert record["properties"]["ward_id"]["x-references"]["entity"] == "wards"
    assert not any("_via_" in name for name in record["properties"]["expand"]["properties"])


def test_who_has_no_role_is_refused(clinic: Server):
    assert clinic.user().get(APP).status_code == 403
    assert clinic.user().get("/api/v1/apps/nothing").status_code == 404


def test_every_door_knows_the_same_entities_and_fields(clinic: Server):
    """Roles by chance: what is described is what records, queries and OpenAPI know."""
    chance = random.Random(4)
    keys = [f"{entity}.{action}" for entity in ENTITIES for action in ACTIONS]
    keys += ["patients.read.own", "patients.diagnosis.read", "patients.dose.read"]
    keys += ["invoices.discount.read", "wards.*"]
    clinic.admin.post(f"{APP}/collections/patients", json={"name": "Ada"})
    for _ in range(12):
        client = user(clinic, *chance.sample(keys, chance.randint(1, 6)))
        held = set(client.get(f"{APP}/permissions").json()["permissions"])
        entities = described(client)
        with_right = {
            entity
            for entity in ENTITIES
            if held & {f"{entity}.{action}{own}" for action in ACTIONS for own in ("", ".own")}
        }
        assert set(entities) == with_right
        document = client.get(f"{APP}/openapi.json").json()
        tags = {tag["name"] for tag in document["tags"]}
        assert tags & set(ENTITIES) == with_right
        for name, entity in entities.items():
            path = f"{APP}/collections/{name}"
            known = {"id", *names(entity), "created_at", "updated_at"}
            if record := document["components"]["schemas"].get(f"{name}.Record"):
                assert set(record["properties"]) - {"expand", "_etag"} == known
            if client.get(path, params={"limit": 1}).status_code == 403:
                continue
            for declared in MANIFEST["dataContract"]:
                for field in declared["fields"] if declared["entityName"] == name else ():
                    body = {"fields": [field["name"]], "limit": 1}
                    status = client.post(f"{path}/query", json=body).status_code
                    assert status == (200 if field["name"] in known else 400)


def declared(client: Client, path: str = APP) -> dict[str, dict[str, dict[str, Any]]]:
    """The fields of the `dataContract` by entity and name."""
    contract = client.get(path).json()["dataContract"]
    return {
        entity["entityName"]: {field["name"]: field for field in entity["fields"]}
        for entity in contract
    }


def test_the_data_contract_says_what_the_manifest_does(clinic: Server):
    contract = declared(clinic.admin)
    assert list(contract) == list(ENTITIES)
    for entity in MANIFEST["dataContract"]:
        fields = contract[entity["entityName"]]
        assert list(fields) == [field["name"] for field in entity["fields"]]
        for field in entity["fields"]:
            shown = fields[field["name"]]
            assert shown["type"] == field["type"]
            for name in ("required", "default_value", "enum_values"):
                assert shown.get(name) == field.get(name)
            target = field.get("references", {})
            assert shown.get("references", {}).get("entity") == target.get("entity")
            assert "is_primary_key" not in shown


def test_the_data_contract_has_what_exists_for_its_reader(clinic: Server):
    reader = user(clinic, "patients.read")
    contract = declared(reader)
    assert {name: list(fields) for name, fields in contract.items()} == {
        "patients": ["name", "ward_id", "nurse_id", "note"]
    }
    for entity in (described(clinic.admin), described(reader)):
        shown = declared(clinic.admin if "wards" in entity else reader)
        assert {name: names(fields) for name, fields in entity.items()} == {
            name: list(fields) for name, fields in shown.items()
        }


def test_a_data_contract_installs_the_same_tables(clinic: Server):
    """Also of an entity whose records have ids that clients choose."""
    marks = {"entityName": "marks", "fields": [{"name": "id", "type": "text"}]}
    clinic.install({"appId": "first", "name": "First", "dataContract": [marks]})
    for path in (APP, "/api/v1/apps/first"):
        contract = clinic.admin.get(path).json()["dataContract"]
        clinic.install({"appId": "again", "name": "Again", "dataContract": contract})
        assert clinic.admin.get("/api/v1/apps/again").json()["dataContract"] == contract
        assert clinic.admin.delete("/api/v1/apps/again").status_code == 200
    assert declared(clinic.admin, "/api/v1/apps/first")["marks"]["id"]["is_primary_key"] is True
