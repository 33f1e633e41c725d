"""Manifests: lenient in spelling, strict in meaning."""

import contextlib

import pytest

from kernel.public import BadRequest, ManifestSection
from plugins.apps.manifest.reader import read_manifest
from plugins.apps.manifest.sections import Sections
from plugins.apps.models import Manifest

from .support import entity, field, link, manifest


def problems(raw) -> list[str]:
    with pytest.raises(BadRequest) as found:
        read_manifest(raw)
    return found.value.message.split("; ")


def only_entity(*fields, **more) -> Manifest:
    return read_manifest(manifest("shop", entity("things", *fields, **more)))


def only_field(*args, **more):
    return only_entity(field(*args, **more)).entities[0].fields[0]


def test_id_and_name_alone_are_a_manifest():
    read = read_manifest({"appId": "tiny", "name": "Tiny"})
    assert (read.name, read.version, read.entities, read.ignored) == ("Tiny", "0.0.1", (), ())


@pytest.mark.parametrize("name", ["Ventes\u00a0: CRM", "👩\u200d💻 CRM", "فروش\u200cها"])
def test_a_name_has_the_joiners_and_spaces_of_any_script(name):
    assert read_manifest({"appId": "tiny", "name": name}).name == name


def test_id_and_name_are_required():
    assert problems({}) == ["appId: is required", "name: is required"]
    assert problems({"appId": "tiny", "name": None}) == ["name: is required"]
    assert problems({"appId": "tiny", "name": ""})[0].startswith("name: ")
    assert problems({"appId": "tiny", "name": 5})[0].startswith("name: ")


@pytest.mark.parametrize(
    "app_id",
    ["core", "schema", "public", "information_schema", "pg_x", "pg_catalog", "caudex_apps",
     "Crm", "crm-x", "1crm", "_crm", "crm ", "crm\n", "", "a" * 64, "crm.x", "crm/x", 'a"b', "é"],
)  # fmt: skip
def test_an_id_that_is_reserved_or_no_identifier_is_refused(app_id):
    (problem,) = problems({"appId": app_id, "name": "x"})
    assert problem.startswith("appId: ")


@pytest.mark.parametrize("app_id", [None, 5, [], {}])
def test_an_id_that_is_no_text_is_refused(app_id):
    assert problems({"appId": app_id})[0].startswith("appId: ")


def test_an_id_of_63_letters_is_fine():
    assert read_manifest({"appId": "a" * 63, "name": "x"}).app_id == "a" * 63


def test_the_aliases_of_types_are_known():
    read = only_entity(field("a", "string"), field("b", "bool"), field("c", "datetime"))
    assert [f.type for f in read.entities[0].fields] == ["text", "boolean", "timestamp"]


def test_both_spellings_of_a_member_are_read():
    camel = only_field("a", defaultValue="x", enumValues=["x", "y"])
    snake = only_field("a", default_value="x", enum_values=["x", "y"])
    assert camel == snake
    raw = manifest("shop", entity("a", field("id", isPrimaryKey=True), field("b")))
    assert read_manifest(raw).entities[0].id_declared


def test_a_member_in_both_spellings_is_refused():
    raw = manifest("shop", entity("a", field("b", default_value="x", defaultValue="y")))
    (problem,) = problems(raw)
    assert problem.startswith("dataContract[0].fields[0].default_value: is given twice")


def test_null_is_the_same_as_absent():
    raw = manifest(
        "shop",
        entity(
            "a", field("b", required=None, default_value=None, enum_values=None, references=None)
        ),
        description=None,
        icon=None,
        actions=None,
    )
    assert read_manifest(raw).ignored == ()


def test_every_problem_is_reported_with_its_path():
    raw = manifest(
        "shop",
        entity("Things"),
        entity(
            "orders", field("a", "money"), field("a-b"), field("c"), field("c"), {"type": "text"}
        ),
        entity("orders"),
        entity("links", link("x", "nowhere"), link("y", "crm:contacts"), field("z", "entity_link")),
        "text",
    )
    starts = [problem.split(": ")[0] for problem in problems(raw)]
    assert sorted(starts) == [
        "dataContract[0].entityName",
        "dataContract[1].fields[0].type",
        "dataContract[1].fields[1].name",
        "dataContract[1].fields[3].name",
        "dataContract[1].fields[4].name",
        "dataContract[2].entityName",
        "dataContract[3].fields[0].references.entity",
        "dataContract[3].fields[1].references.entity",
        "dataContract[3].fields[2].references",
        "dataContract[4]",
    ]


def test_a_message_lists_no_more_than_a_hundred_problems():
    found = problems(manifest("shop", *[entity("X") for _ in range(150)]))
    assert len(found) == 101
    assert found[-1] == "and 50 more"


@pytest.mark.parametrize("value", [[], {}, "text", 5, True])
def test_shapes_that_are_wrong_everywhere_are_refused_not_crashed_on(value):
    for raw in (
        {"appId": "a", "name": value, "version": value, "type": value},
        {"appId": "a", "dataContract": value, "permissions": value},
        manifest("a", value),
        manifest("a", {"entityName": value, "fields": value, "indexes": value}),
        manifest("a", entity("e", value)),
        manifest("a", entity("e", {"name": value, "type": value})),
        manifest("a", entity("e", field("f", required=value, enum_values=value))),
        manifest("a", entity("e", field("f", references=value, on_delete=value))),
        manifest("a", entity("e", field("id", "text", default_value=value, references=value))),
        manifest("a", entity("e", field("id", value), is_primary_key=value)),
        manifest("a", entity("e", {"name": "f", "type": "entity_link", "references": value})),
        manifest("a", entity("e", link("f", value))),
        manifest("a", entity("e", indexes=[value])),
        manifest("a", entity("e", indexes=[{"columns": value, "unique": value, "name": value}])),
        manifest("a", entity("e", indexes=[{"columns": [value]}])),
        manifest("a", permissions=[value]),
        manifest("a", permissions={"permissions": value}),
        manifest("a", permissions=[{"key": value, "description": value}]),
    ):
        with contextlib.suppress(BadRequest):
            read_manifest(raw)


def test_the_columns_of_the_server_in_fields_are_ignored():
    read = only_entity(field("created_at", "money"), field("updated_at", "text"), field("a"))
    assert [f.name for f in read.entities[0].fields] == ["a"]


@pytest.mark.parametrize("name", ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", "_owner"])
def test_names_of_the_database_itself_are_refused(name):
    assert problems(manifest("shop", entity("a", field(name))))


def test_id_may_be_redeclared_as_uuid_or_text():
    assert only_entity().entities[0].id_type == "uuid"
    assert not only_entity().entities[0].id_declared
    read = only_entity(field("id", "string", is_primary_key=True, required=True)).entities[0]
    assert (read.id_type, read.id_declared, read.fields) == ("text", True, ())
    assert problems(manifest("s", entity("a", field("id", "number"))))[0].startswith(
        "dataContract[0].fields[0].type: "
    )
    for more in ({"default_value": "x"}, {"enum_values": ["a"]}, {"on_delete": "cascade"}):
        assert problems(manifest("s", entity("a", field("id", "uuid", **more))))
    assert problems(manifest("s", entity("a", field("id", "uuid"), field("id", "uuid"))))


def test_a_primary_key_is_called_id():
    assert problems(manifest("s", entity("a", field("code", is_primary_key=True)))) == [
        "dataContract[0].fields[0].is_primary_key: a primary key is called id, not 'code'"
    ]


def test_a_link_has_the_type_of_the_id_it_names_even_of_a_later_entity():
    raw = manifest(
        "shop",
        entity("orders", link("product", "products"), link("buyer", "core:users")),
        entity("products", field("id", "text")),
    )
    product, buyer = read_manifest(raw).entities[0].fields
    assert (product.sql_type, buyer.sql_type) == ("text", "uuid")


def test_a_link_without_on_delete_is_set_null_or_restrict():
    read = only_entity(
        link("a", "things"),
        link("b", "things", required=True),
        link("c", "things", onDelete="CASCADE"),
        link("d", "things", on_delete="set null"),
    )
    assert [f.on_delete for f in read.entities[0].fields] == [
        "set_null", "restrict", "cascade", "set_null",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        link("a", "things", on_delete="explode"),
        link("a", "things", required=True, on_delete="set_null"),
        field("a", on_delete="cascade"),
        field("a", "uuid", references={"entity": "things"}),
        field("a", "entity_link", references={"entity": "things", "field": "name"}),
        field("a", "entity_link", references={"field": "id"}),
        field("a", "number", enum_values=["1"]),
        field("a", "json", enum_values=["b"], default_value={"b": 1}),
        field("a", "json", enum_values=["b"], default_value=[["b"]]),
        field("a", enum_values=[1, 2]),
        field("a", enum_values=["x"], default_value="y"),
        field("a", "[text]", enum_values=["x"], default_value=["x", "y"]),
    ],
)
def test_rules_that_contradict_the_field_are_refused(wrong):
    assert problems(manifest("shop", entity("things", wrong)))[0].startswith(
        "dataContract[0].fields[0]."
    )


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("text", "", ""),
        ("file", "a.pdf", "a.pdf"),
        ("number", 5, 5),
        ("number", "5.5", 5.5),
        ("number", -1e300, -1e300),
        ("boolean", False, False),
        ("boolean", "true", True),
        ("date", "2024-02-29", "2024-02-29"),
        ("timestamp", "2024-01-01", "2024-01-01T00:00:00Z"),
        ("timestamp", "2024-01-01T10:30:00+02:00", "2024-01-01T08:30:00Z"),
        ("timestamp", "2024-01-01 10:30:00.5Z", "2024-01-01T10:30:00.500000Z"),
        ("json", {"a": [1, None]}, {"a": [1, None]}),
        ("json", False, False),
        ("uuid", "F47AC10B-58CC-4372-A567-0E02B2C3D479", "f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        ("[text]", ["a", "b"], ["a", "b"]),
        ("[number]", [1, "2"], [1, 2]),
    ],
)
def test_defaults_become_values(kind, given, value):
    assert only_field("a", kind, default_value=given).default == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("text", 5), ("text", ["a"]), ("number", "five"), ("number", True), ("number", 2**53 + 1),
        ("number", "1e999"), ("number", ""), ("boolean", 1), ("boolean", "yes"), ("date", "today"),
        ("date", "2023-02-29"), ("date", "2024-01-01T00:00:00Z"), ("timestamp", "now()"),
        ("timestamp", "0001-01-01T00:00:00+05:00"), ("timestamp", "2024-13-01"), ("uuid", "x"),
        ("uuid", "{47ac10b-58cc-4372-a567-0e02b2c3d479"), ("[text]", "a"), ("[text]", [1]),
        ("[number]", ["a"]), ("[number]", [None]),
    ],
)  # fmt: skip
def test_a_default_that_is_no_value_of_its_type_is_refused(kind, given):
    (problem,) = problems(manifest("shop", entity("a", field("b", kind, default_value=given))))
    assert problem.startswith("dataContract[0].fields[0].default_value: ")


def test_permissions_come_in_two_forms():
    listed = [{"key": "things.write", "description": "Write"}, {"key": "export"}]
    bare = read_manifest(manifest("shop", permissions=listed))
    nested = read_manifest(manifest("shop", permissions={"permissions": listed}))
    assert [p.key for p in bare.permissions] == ["things.write", "export"]
    assert bare.permissions == nested.permissions


@pytest.mark.parametrize("key", ["a", "things.write", "a:b.c-d", "Export_2", "a.2", "x" * 128])
def test_permission_keys_are_words_joined_by_dots_or_colons(key):
    assert read_manifest(manifest("shop", permissions=[{"key": key}])).permissions[0].key == key


@pytest.mark.parametrize(
    "key",
    ["*", "things.*", "a,b", "", "a..b", ".a", "a b", "a\u0000", "a\n", "x" * 129,
     "2fa.use", "a::b", "a:", "a.", "a.:b", ":a", "-a", "_a"],
)  # fmt: skip
def test_any_other_permission_key_is_reported_with_its_path_beside_other_problems(key):
    found = problems(manifest("shop", entity("Things"), permissions=[{"key": "a"}, {"key": key}]))
    assert [problem.split(": ")[0] for problem in found] == [
        "dataContract[0].entityName",
        "permissions[1].key",
    ]


def test_unknown_parts_are_listed():
    raw = manifest(
        "shop",
        entity("a", field("b", tint="B"), icon="x"),
        actions=[],
        webhooks=[1],
        surprise=True,
        description="d",
        icon="i",
        type="app",
        **{"$schema": "s"},
    )
    assert list(read_manifest(raw).ignored) == [
        "actions", "webhooks", "surprise", "dataContract[0].icon",
        "dataContract[0].fields[0].tint",
    ]  # fmt: skip
    webhooks = Sections([("hooks", ManifestSection("webhooks", {}))])
    assert "webhooks" not in read_manifest(raw, webhooks).ignored


def test_unknown_parts_further_in_are_listed_too():
    raw = manifest(
        "shop",
        entity(
            "a",
            link("b", "a"),
            field("c"),
            indexes=[{"columns": ["c"], "unique": True, "where": "c > 'x'"}],
        ),
        permissions={"permissions": [{"key": "k", "scope": "s"}], "roles": []},
    )
    raw["dataContract"][0]["fields"][0]["references"]["app"] = "other"
    assert sorted(read_manifest(raw).ignored) == [
        "dataContract[0].fields[0].references.app", "dataContract[0].indexes[0].where",
        "permissions.permissions[0].scope", "permissions.roles",
    ]  # fmt: skip


def test_indexes_that_are_not_made_are_listed():
    indexes = [
        {"columns": [{"expr": "lower(c)"}], "unique": True, "name": "by_lower"},
        {"columns": ["c", {"expr": "length(c)"}], "where": "c > 'x'"},
        {"columns": [{"column": "c", "ops": "gin_trgm_ops"}], "using": "gin"},
        {"columns": ["d", {"column": "c", "sort": "desc"}], "using": "btree"},
    ]
    read = read_manifest(manifest("shop", entity("a", field("c"), field("d"), indexes=indexes)))
    assert [index.columns for index in read.indexes["a"]] == [("d", "c")]
    place = "dataContract[0].indexes"
    assert list(read.ignored) == [
        f"{place}[0]", f"{place}[1]", f"{place}[2]", f"{place}[3].columns[1].sort",
    ]  # fmt: skip
    for columns in ([{"column": "x"}], [{}], [3], ["c", {"column": "c"}]):
        said = problems(manifest("shop", entity("a", field("c"), indexes=[{"columns": columns}])))
        assert said[0].startswith(f"{place}[0].columns: ")


def test_limits_of_entities_and_fields():
    read_manifest(manifest("shop", *[entity(f"e{n}") for n in range(200)]))
    assert problems(manifest("shop", *[entity(f"e{n}") for n in range(201)])) == [
        "dataContract: has 201 items, at most 200 are allowed"
    ]
    only_entity(*[field(f"f{n}") for n in range(500)])
    assert problems(manifest("shop", entity("a", *[field(f"f{n}") for n in range(501)])))


def test_indexes_name_fields_once():
    for indexes in (
        [{"columns": []}],
        [{"columns": ["nope"]}],
        [{"columns": ["a", "a"]}],
        [{"columns": ["a"], "name": "x"}, {"columns": ["b"], "name": "x"}],
        [{"columns": ["a"], "unique": "yes"}],
        [{"columns": [f"f{n}" for n in range(33)]}],
    ):
        raw = manifest("shop", entity("e", field("a"), field("b"), indexes=indexes))
        assert problems(raw)[0].startswith("dataContract[0].indexes[")
    read = only_entity(field("a"), indexes=[{"columns": ["a", "created_at", "id"]}])
    assert read.indexes["things"][0].columns == ("a", "created_at", "id")


def test_a_default_is_bounded():
    """It is written again in each record of a bulk that leaves its field out."""
    longest = "x" * 63_998  # with its quotes
    assert only_entity(field("a", default_value=longest)).entities[0].fields[0].default == longest
    for kind, default in (
        ("text", longest + "x"),
        ("json", [0.5] * 20_000),
        ("[number]", [0.5] * 20_000),
    ):
        [problem] = problems(manifest("s", entity("a", field("a", kind, default_value=default))))
        assert problem.startswith("dataContract[0].fields[0].default_value: must be at most 64000")
