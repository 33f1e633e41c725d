"""Hints for people: what a field is called and how it is shown."""

from __future__ import annotations

import pytest

from .support import changes, entity, field, fresh_id, install, manifest, refused


@pytest.fixture
def app() -> str:
    return fresh_id()


def test_hints_are_shown_and_change_no_table(server, app):
    plain = manifest(app, entity("deals", field("value", "number"), field("stage")))
    install(server.admin, plain)
    shown = manifest(
        app,
        entity(
            "deals",
            field("value", "number", label="Net value", format="currency", currency="EUR"),
            field("stage", width=240),
            label="Open deals",
        ),
    )
    assert changes(server.admin, shown) == []
    assert "ignored" not in install(server.admin, shown)
    (described,) = server.admin.get(f"/api/v1/apps/{app}").json()["entities"]
    assert described["label"] == "Open deals"
    value, stage = described["fields"]
    assert (value["label"], value["format"], value["currency"]) == ("Net value", "currency", "EUR")
    assert stage["width"] == 240
    assert "label" not in stage


def test_colours_belong_to_the_values_of_an_enumeration(server, app):
    hinted = field("stage", enum_values=["Lead", "Won"], colours={"Won": "green"})
    install(server.admin, manifest(app, entity("deals", hinted)))
    (described,) = server.admin.get(f"/api/v1/apps/{app}").json()["entities"]
    assert described["fields"][0]["colours"] == {"Won": "green"}


def test_a_field_that_a_caller_may_not_read_shows_no_hints(server, app):
    secret = field("pay", "number", label="Pay of all", access={"read": "hr"})
    install(server.admin, manifest(app, entity("people", field("name"), secret)))
    clerk = server.user(permissions={app: ["people.read"]})
    assert "Pay of all" not in clerk.get(f"/api/v1/apps/{app}").text


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"label": " "}, "label: must be printable"),
        ({"label": "x" * 81}, "label: must be text of at most 80"),
        ({"format": "money"}, "format: must be one of currency"),
        ({"format": "percent"}, "format: 'percent' is for fields of type number"),
        ({"currency": "euro"}, "currency: must be three capital letters"),
        ({"currency": "EUR"}, "currency: is for fields with the format currency"),
        ({"width": 10}, "width: must be 40 to 1000 pixels"),
        ({"width": True}, "width: must be 40 to 1000 pixels"),
        ({"colours": ["red"]}, "colours: must be an object"),
        ({"colours": {"Lost": "red"}}, "colours: 'Lost' is not among enum_values"),
        ({"colours": {"Won": "#f00"}}, "colours: the colour of 'Won' must be one of grey"),
    ],
)
def test_hints_are_checked(server, app, wrong, error):
    hinted = field("stage", enum_values=["Won"], **wrong)
    assert f"dataContract[0].fields[0].{error}" in refused(
        server.admin, manifest(app, entity("deals", hinted))
    )
