"""The short way for values that need no conversion decides as the long one."""

import math
from typing import Any
from uuid import UUID

from hypothesis import example, given
from hypothesis import strategies as st

from kernel.public import FIELD_KINDS, BadRequest, Entity, Field
from plugins.data.columns import AS_SENT, Columns
from plugins.data.writes.rows import coerced, complete, new_ids, row_of

FIELDS = (
    Field(name="label", type="text", sql_type="text"),
    Field(name="kind", type="text", sql_type="text", enum_values=("a", "b")),
    Field(name="amount", type="number", sql_type="double precision"),
    Field(name="done", type="boolean", sql_type="boolean"),
    Field(name="due", type="date", sql_type="date"),
    Field(name="parent", type="entity_link", sql_type="text"),
)
ENTITY = Entity(app_id="a", name="things", id_type="uuid", id_declared=False, fields=FIELDS)
COLUMNS = Columns(ENTITY)

texts = st.text(max_size=12) | st.sampled_from(["", "a", "true", "1", "2026-01-02", "20260102"])
dates = st.dates().map(str) | st.from_regex(r"[0-9]{4}-?(W[0-9]{2}|[0-9]{2})-?[0-9]{1,2}")
numbers = st.integers() | st.integers(-(2**60), 2**60) | st.floats()
values = st.none() | st.booleans() | numbers | texts | dates | st.lists(numbers, max_size=2)


@given(name=st.sampled_from([field.name for field in FIELDS]), value=values)
@example("label", "a\0b")
@example("amount", 2**53 + 1)
@example("amount", True)
@example("amount", math.inf)
@example("due", "2026-W01-1")
@example("parent", "")
def test_it_accepts_only_what_conversion_leaves_alone(name: str, value: Any) -> None:
    check = COLUMNS.as_sent.get(name)
    if check is not None and check(value):
        stored = coerced(COLUMNS.find(name), value)
        assert stored == value
        assert type(stored) is type(value)


@given(st.dictionaries(st.sampled_from([field.name for field in FIELDS]), values, min_size=1))
def test_a_row_is_the_same_both_ways(body: dict[str, Any]) -> None:
    slow = Columns(ENTITY)
    slow.as_sent = {}

    def outcome(columns: Columns) -> Any:
        try:
            return list(row_of(ENTITY, columns, body, creating=True).items())
        except BadRequest as error:
            return error.message

    assert repr(outcome(COLUMNS)) == repr(outcome(slow))


def test_the_frequent_kinds_have_a_short_way() -> None:
    assert set(AS_SENT) <= set(FIELD_KINDS.values())
    assert set(COLUMNS.as_sent) == {"label", "kind", "amount", "done", "due"}


def test_ids_of_a_statement_ascend() -> None:
    found = new_ids(5000)
    assert {UUID(each).version for each in found} == {7}
    assert {str(UUID(each)) for each in found} == set(found)
    assert len(set(found)) == 5000
    assert found[:4096] == sorted(found[:4096])


def test_rows_of_a_statement_have_the_same_fields() -> None:
    rows = complete(COLUMNS, [{"label": "x"}, {"label": "y", "done": True}, {"id": "mine"}])
    assert [list(row) for row in rows] == [["id", "label", "done"]] * 3
    assert rows[2] == {"id": "mine", "label": None, "done": None}
    assert rows[0]["id"] < rows[1]["id"]
