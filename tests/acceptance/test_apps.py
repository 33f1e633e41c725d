"""The contract's section Apps, over HTTP, with a real manifest."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

CRM = json.loads((Path(__file__).parents[2] / "examples" / "crm" / "manifest.json").read_bytes())


@pytest.fixture
def crm(server):
    answer = server.admin.post("/api/v1/apps", json=CRM)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"message": "app 'crm' installed"}
    yield server
    server.admin.delete("/api/v1/apps/crm")


def records(server, entity):
    return f"/api/v1/apps/crm/collections/{entity}"


def test_the_crm_is_installed_and_listed(crm):
    for client in (crm.admin, crm.user()):
        answer = client.get("/api/v1/apps")
        assert answer.status_code == 200
        assert answer.json() == [
            {
                "id": "crm",
                "name": "CRM",
                "version": "0.0.1",
                "status": "installed",
                "type": "app",
                "icon": None,
                "hasFrontend": False,
                "url": None,
                "entities": ["companies", "contacts", "deals", "contact_emails", "activities"],
            }
        ]


def test_installing_again_is_the_same_answer_and_changes_nothing(crm):
    created = crm.admin.post(records(crm, "companies"), json={"name": "Acme"})
    assert created.status_code == 201
    again = crm.admin.post("/api/v1/apps", json=CRM)
    assert (again.status_code, again.json()) == (200, {"message": "app 'crm' installed"})
    verdict = crm.admin.post("/api/v1/apps/schema/verify", json=CRM)
    assert verdict.json() == {"compliant": True, "changes": []}
    kept = crm.admin.get(f"{records(crm, 'companies')}/{created.json()['id']}")
    assert kept.json() == created.json()


def test_a_new_version_keeps_the_data(crm):
    created = crm.admin.post(
        records(crm, "contacts"),
        json={"first_name": "Alice", "last_name": "M", "phone": "33612345"},
    ).json()
    second = json.loads(json.dumps(CRM))
    second["version"] = "0.0.2"
    contacts = second["dataContract"][1]["fields"]
    contacts[:] = [f for f in contacts if f["name"] != "notes"]
    next(f for f in contacts if f["name"] == "phone")["type"] = "number"
    contacts.append({"name": "score", "type": "number", "required": True, "default_value": 10})
    verdict = crm.admin.post("/api/v1/apps/schema/verify", json=second).json()
    assert not verdict["compliant"]
    assert {(c["entity"], c["change_type"], c["column"]) for c in verdict["changes"]} >= {
        ("contacts", "retire_column", "notes"),
        ("contacts", "alter_type", "phone"),
        ("contacts", "add_column", "score"),
    }
    assert crm.admin.post("/api/v1/apps", json=second).status_code == 200
    kept = crm.admin.get(f"{records(crm, 'contacts')}/{created['id']}").json()
    assert (kept["first_name"], kept["phone"], kept["score"]) == ("Alice", 33612345, 10)
    assert "notes" not in kept
    assert crm.admin.get("/api/v1/apps").json()[0]["version"] == "0.0.2"


def test_a_change_that_would_lose_data_is_refused_and_nothing_changes(crm):
    crm.admin.post(records(crm, "companies"), json={"name": "Acme", "phone": "+33 6 12"})
    wrong = json.loads(json.dumps(CRM))
    wrong["version"] = "9"
    wrong["dataContract"][0]["fields"][3]["type"] = "number"
    answer = crm.admin.post("/api/v1/apps", json=wrong)
    assert answer.status_code == 400
    assert answer.json()["error"] == (
        'companies.phone: 1 value does not convert from text to number ("+33 6 12")'
    )
    assert crm.admin.get("/api/v1/apps").json()[0]["version"] == "0.0.1"
    assert crm.admin.get(records(crm, "companies")).json()[0]["phone"] == "+33 6 12"


def test_a_wrong_manifest_is_refused_with_every_path(server):
    wrong = json.loads(json.dumps(CRM))
    wrong["appId"] = "crm2"
    wrong["dataContract"][2]["fields"][0]["type"] = "money"
    wrong["dataContract"][2]["fields"][3]["references"]["entity"] = "people"
    answer = server.admin.post("/api/v1/apps", json=wrong)
    assert answer.status_code == 400
    said = answer.json()["error"]
    assert "dataContract[2].fields[0].type: " in said
    assert "dataContract[2].fields[3].references.entity: " in said
    assert server.admin.get("/api/v1/apps").json() == []


def test_what_no_plugin_understands_is_named_in_the_reply(server):
    body = {"appId": "odd", "name": "Odd", "surprise": 1, "instructions": "x"}
    answer = server.admin.post("/api/v1/apps", json=body)
    assert answer.json() == {
        "message": "app 'odd' installed",
        "ignored": ["surprise", "instructions"],
    }
    assert server.admin.delete("/api/v1/apps/odd").status_code == 200


def test_an_app_can_be_uninstalled_once(crm):
    answer = crm.admin.delete("/api/v1/apps/crm")
    assert answer.status_code == 200
    assert "crm" in answer.json()["message"]
    assert crm.admin.get("/api/v1/apps").json() == []
    answer = crm.admin.delete("/api/v1/apps/crm")
    assert answer.status_code == 404
    assert answer.json()["error"]
    assert crm.admin.get(records(crm, "contacts")).status_code == 404


def test_anothers_app_is_403_and_an_unknown_one_404(crm):
    user = crm.user()
    assert user.post("/api/v1/apps", json=CRM).status_code == 403
    assert user.delete("/api/v1/apps/crm").status_code == 403
    assert crm.admin.delete("/api/v1/apps/nope").status_code == 404


def test_twenty_entities_of_twenty_fields_are_installed_at_a_bounded_cost(server):
    kinds = ["text", "number", "boolean", "date", "timestamp", "json", "uuid", "[text]", "[number]"]
    entities = [
        {
            "entityName": f"entity{n}",
            "fields": [{"name": f"field{f}", "type": kinds[f % len(kinds)]} for f in range(20)],
        }
        for n in range(20)
    ]
    started = time.process_time()  # the server is in this process
    body = {"appId": "wide", "name": "Wide", "dataContract": entities}
    assert server.admin.post("/api/v1/apps", json=body).status_code == 200
    assert time.process_time() - started < 5  # well under one
    assert server.admin.delete("/api/v1/apps/wide").status_code == 200


@pytest.mark.slow
def test_the_largest_app_that_is_allowed_can_be_installed(server):
    body = {
        "appId": "huge",
        "name": "Huge",
        "dataContract": [
            {
                "entityName": f"e{n}",
                "fields": [{"name": f"f{f}", "type": "text"} for f in range(100)],
            }
            for n in range(200)
        ],
    }
    assert server.admin.post("/api/v1/apps", json=body).status_code == 200
    assert server.admin.delete("/api/v1/apps/huge").status_code == 200
