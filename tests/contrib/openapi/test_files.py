"""Fields of managed files in the document of an app."""

from contrib.openapi import fields
from kernel.public import Entity, Field, FileRule

RULE = FileRule(max_size=1000, types=("image/*",))
PEOPLE = Entity(
    app_id="desk",
    name="people",
    id_type="uuid",
    id_declared=False,
    fields=(
        Field(name="photo", type="file", sql_type="uuid", file=RULE),
        Field(name="scans", type="[file]", sql_type="uuid[]", required=True, file=RULE),
        Field(name="note", type="file", sql_type="text"),
    ),
)


def test_a_record_shows_files_and_a_body_may_have_their_ids():
    shapes = fields.shapes(PEOPLE, {})
    record = shapes["Record"]["properties"]
    assert [kind.get("type") for kind in record["photo"]["anyOf"]] == ["object", "null"]
    assert record["photo"]["x-file"] == {"maxSize": 1000, "types": ["image/*"]}
    assert record["scans"]["items"]["properties"].keys() == {"id", "name", "type", "size"}
    assert record["note"]["type"] == ["string", "null"]
    sent = shapes["NewRecord"]["properties"]["scans"]
    assert {kind["type"] for kind in sent["items"]["anyOf"]} == {"string", "object"}


def test_files_are_filtered_by_id_alone():
    tree = fields.shapes(PEOPLE, {})["Where"]["properties"]
    operators = fields.operators()
    for name in ("photo", "scans"):
        component = operators[tree[name]["$ref"].rpartition("/")[2]]
        [_, by_operator] = component["anyOf"]
        assert by_operator["properties"].keys() == {"$eq", "$in", "$isNull"}
    assert fields.filters(PEOPLE, frozenset())["photo"]["format"] == "uuid"
