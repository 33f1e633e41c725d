"""What roles allow, against a model that is too simple to be wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernel.public import Grant, Permission, Role
from plugins.rbac.grammar import ACTIONS, permissions_of
from plugins.rbac.models import AppRow
from plugins.rbac.rights import AppPermissions, Rights

# Names that begin with one another, and declared keys under and beside the entities.
ENTITIES = ["note", "notes", "notes_private", "deals"]
DECLARED = ["notes.write", "notes.archive.all", "reports.app", "reports", "notes_private.export"]
AVAILABLE = permissions_of(ENTITIES, [Permission(key) for key in DECLARED])
NAMES = ["a", "b", "c", "d", "e"]

keys = st.one_of(
    st.sampled_from(["*", *DECLARED, "reports.*"]),
    st.builds("{}.*".format, st.sampled_from(ENTITIES)),
    st.builds("{}.{}".format, st.sampled_from(ENTITIES), st.sampled_from(ACTIONS)),
    st.builds("{}.{}.own".format, st.sampled_from(ENTITIES), st.sampled_from(ACTIONS)),
)


@st.composite
def roles(draw: st.DrawFn) -> list[Role]:
    """Roles that inherit from earlier ones only, so that there is no circle."""
    return [
        Role(
            name=name,
            permissions=draw(st.lists(keys, max_size=4)),
            inherits=draw(st.lists(st.sampled_from(NAMES[:position]), max_size=2, unique=True))
            if position
            else [],
        )
        for position, name in enumerate(NAMES)
    ]


held = st.lists(st.sampled_from(NAMES), max_size=3, unique=True)


def model_keys(wanted: list[str], known: list[Role]) -> set[str]:
    """Walk up and collect."""
    found: set[str] = set()
    for role in known:
        if role.name in wanted:
            found |= set(role.permissions) | model_keys(role.inherits, known)
    return found


def model_covers(pattern: str, key: str) -> bool:
    """Compare segment by segment."""
    if pattern == "*":
        return True
    first, *rest = pattern.split(".")
    if rest == ["*"]:
        return key.split(".")[0] == first
    return pattern.split(".") == key.split(".")


def rights_of(known: list[Role], names: list[str]) -> Rights:
    row = AppRow(app_id="crm", entities=ENTITIES, permissions=AVAILABLE, roles=known)
    return AppPermissions(row, ()).rights(tuple(sorted(names)))


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(roles(), held)
def test_every_action_is_decided_as_the_model_does(known: list[Role], names: list[str]):
    rights = rights_of(known, names)
    patterns = model_keys(names, known)
    for entity in ENTITIES:
        for action in ACTIONS:
            key = f"{entity}.{action}"
            full = any(model_covers(pattern, key) for pattern in patterns)
            own = f"{key}.own" in patterns
            expected = (
                Grant()
                if full or (own and action == "create")
                else Grant(own_only=True)
                if own
                else None
            )
            assert rights.grant_on(entity, action) == expected, (key, patterns)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(roles(), held)
def test_every_key_is_listed_as_the_model_does_and_in_order(known: list[Role], names: list[str]):
    patterns = model_keys(names, known)
    expected: list[str] = []
    for permission in AVAILABLE:
        key = permission.key
        if any(model_covers(pattern, key) for pattern in patterns):
            expected.append(key)
        elif f"{key}.own" in patterns:
            expected.append(key if key.split(".")[1] == "create" else f"{key}.own")
    assert rights_of(known, names).list_keys(AVAILABLE) == expected


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(roles(), held, st.sampled_from([*DECLARED, "audit.read", "notes", "notesx.read"]))
def test_a_single_key_is_held_as_the_model_says(known: list[Role], names: list[str], key: str):
    patterns = model_keys(names, known)
    expected = any(model_covers(pattern, key) for pattern in patterns)
    assert rights_of(known, names).holds(key) is expected


def test_a_user_without_a_role_may_nothing():
    rights = rights_of([Role(name="a", permissions=["*"])], [])
    assert rights.grant_on("notes", "read") is None
    assert not rights.holds("notes.read")
    assert rights.list_keys(AVAILABLE) == []


def test_a_circle_that_got_into_the_tables_does_not_hang():
    known = [Role(name="a", inherits=["b"]), Role(name="b", inherits=["a"], permissions=["*"])]
    assert rights_of(known, ["a"]).everything
