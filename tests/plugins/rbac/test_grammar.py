"""Which keys and names are taken, and how circles are reported."""

import pytest

from kernel.public import BadRequest, Permission
from plugins.rbac.grammar import canonical_user_id, check_keys, check_role_name, permissions_of
from plugins.rbac.inheritance import MAX_DEPTH, check_inheritance

ENTITIES = ["notes", "notes_private"]
AVAILABLE = permissions_of(ENTITIES, [Permission("reports.app"), Permission("tool:send")])


def test_generated_keys_come_first_and_a_declared_one_keeps_its_place_and_its_words():
    declared = [Permission("deals.approve", "Approve"), Permission("contacts.read", "See people")]
    listed = permissions_of(["contacts", "deals"], declared)
    assert [permission.key for permission in listed] == [
        "contacts.create", "contacts.read", "contacts.update", "contacts.delete",
        "deals.create", "deals.read", "deals.update", "deals.delete", "deals.approve",
    ]  # fmt: skip
    assert {p.key: p.description for p in listed}["contacts.read"] == "See people"


@pytest.mark.parametrize(
    "key",
    ["a,b", "*", "notes.*", "", "a b", "a\0b", "a..b", ".a", "a.", "ä", "x" * 201, "%"],
)  # fmt: skip
def test_a_manifest_cannot_declare_a_key_outside_of_the_grammar(key: str):
    with pytest.raises(BadRequest, match="no permission key"):
        permissions_of(ENTITIES, [Permission(key)])


@pytest.mark.parametrize(
    "key",
    ["*", "notes.*", "notes.read", "notes.delete.own", "reports.app", "reports.*", "tool:send"],
)  # fmt: skip
def test_a_role_may_hold_what_the_grammar_knows(key: str):
    assert check_keys([key, key], ENTITIES, AVAILABLE) == [key]


@pytest.mark.parametrize(
    "key",
    ["%", "_", ".*", "*.*", "*.read", "notes", "notes.%", "notes_", "note.*", "NOTES.READ", "",
     "notes.read,notes.update", "notes.write", "notes.*.own", "notes.read.own.own", "notes.read ",
     " notes.read", "notes.re_d", "nöten.read", "unknown.read", "notes.read\n", "tool:*", "tool.*",
     "reports.app.own"],
)  # fmt: skip
def test_a_role_may_hold_nothing_else(key: str):
    with pytest.raises(BadRequest, match="no permission key of this app"):
        check_keys([key], ENTITIES, AVAILABLE)


def test_a_role_keeps_the_keys_of_an_entity_that_was_retired():
    assert check_keys(["gone.read"], ENTITIES, AVAILABLE, present_keys=["gone.read"]) == [
        "gone.read"
    ]


@pytest.mark.parametrize(
    "name", ["a", "Sales Team", "v1.2_x-y", "Z" * 64, "Assign", "administrator"]
)
def test_a_role_may_be_called(name: str):
    check_role_name(name)


@pytest.mark.parametrize(
    "name",
    ["", " a", "1a", "a" * 65, "a/b", "a\n", "rôle", "a\0", "'; drop table", "assign", "revoke",
     "assignments", "admin", "Admin", "ADMIN", "admin "],
)  # fmt: skip
def test_a_role_must_not_be_called(name: str):
    with pytest.raises(BadRequest):
        check_role_name(name)


@pytest.mark.parametrize(
    "text",
    ["", "x", "3fa85f64", "{3fa85f64-5717-4562-b3fc-2c963f66afa6}",
     "3fa85f6457174562b3fc2c963f66afa6", "3fa85f64-5717-4562-b3fc-2c963f66afa6\n"],
)  # fmt: skip
def test_what_is_no_uuid_is_refused(text: str):
    with pytest.raises(BadRequest, match="UUID"):
        canonical_user_id(text)


def test_a_uuid_has_one_spelling():
    upper = "3FA85F64-5717-4562-B3FC-2C963F66AFA6"
    assert canonical_user_id(upper) == upper.lower()


def test_a_circle_is_reported_with_its_path():
    parents = {"a": ["b"], "b": ["c", "d"], "c": [], "d": ["a"]}
    with pytest.raises(BadRequest, match="a -> b -> d -> a"):
        check_inheritance("a", parents)


def test_a_role_that_inherits_from_itself_is_a_circle():
    with pytest.raises(BadRequest, match="a -> a"):
        check_inheritance("a", {"a": ["a"]})


def test_an_unknown_parent_is_named():
    with pytest.raises(BadRequest, match="no role 'ghost'"):
        check_inheritance("a", {"a": ["ghost"]})


def test_a_diamond_is_no_circle():
    check_inheritance("a", {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []})


def test_towers_end_at_the_limit_wherever_they_grow():
    tower = {f"r{n}": [f"r{n + 1}"] for n in range(MAX_DEPTH)} | {f"r{MAX_DEPTH}": list[str]()}
    check_inheritance("r0", tower)
    with pytest.raises(BadRequest, match="16 steps"):
        check_inheritance("top", {"top": ["r0"], **tower})
    with pytest.raises(BadRequest, match="16 steps"):
        check_inheritance(f"r{MAX_DEPTH}", {**tower, f"r{MAX_DEPTH}": ["base"], "base": []})
