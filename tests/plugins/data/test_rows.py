"""The short way for values that need no conversion decides as the long one."""

import math
from itertools import islice, permutations
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernel.public import BadRequest, Entity, Field, Grant
from plugins.data.columns.bodies import MAX_KNOWN, BodyFields, BodyShapes
from plugins.data.columns.columns import Columns
from plugins.data.values.arrays import new_ids, rows_to_arrays
from plugins.data.values.rows import Row, new_rows, row_of

FIELDS = (
    Field(name="label", type="text", sql_type="text", required=True),
    Field(name="kind", type="text", sql_type="text", enum_values=("a", "b")),
    Field(name="amount", type="number", sql_type="double precision"),
    Field(name="done", type="boolean", sql_type="boolean"),
    Field(name="due", type="date", sql_type="date"),
    Field(name="parent", type="entity_link", sql_type="text"),
    Field(name="owner", type="entity_link", sql_type="uuid"),
    Field(name="at", type="timestamp", sql_type="timestamptz"),
    Field(name="data", type="json", sql_type="jsonb", required=True, default={}),
    Field(name="tags", type="[text]", sql_type="text[]"),
    Field(name="sizes", type="[number]", sql_type="double precision[]"),
)
ENTITY = Entity(app_id="a", name="things", id_type="uuid", id_declared=False, fields=FIELDS)
COLUMNS = Columns(ENTITY)


class UnknownBodies(BodyShapes):
    """Knows nothing of any body, so that each value is converted by itself."""

    def describe(self, names: tuple[str, ...]) -> BodyFields | None:
        return None


SLOW = Columns(ENTITY)
SLOW.bodies = UnknownBodies(ENTITY, {column.name: column for column in SLOW})


texts = st.text(max_size=12) | st.sampled_from(["", "a", "true", "1", "2026-01-02", "20260102"])
dates = st.dates().map(str) | st.from_regex(r"[0-9]{4}-?(W[0-9]{2}|[0-9]{2})-?[0-9]{1,2}")
moments = st.datetimes().map(str) | st.from_regex(
    r"[0-9]{4}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-6][0-9](:[0-6][0-9]([.,][0-9]{1,9})?)?)?"
    r" ?([Zz]|[+-][0-2][0-9](:?[0-5][0-9])?)?",
    fullmatch=True,
)
numbers = st.integers() | st.integers(-(2**60), 2**60) | st.floats()
lists = st.lists(numbers | texts, max_size=2) | st.lists(numbers, max_size=2) | st.lists(texts)
values = st.none() | st.booleans() | numbers | texts | dates | moments | lists


fields = st.sampled_from([field.name for field in FIELDS])
# One wrong value sends a whole body the long way, so many bodies have a single one.
bodies = st.dictionaries(fields, values, min_size=1, max_size=1) | st.dictionaries(
    fields, values, min_size=1
)


@given(body=bodies, creating=st.booleans())
@example(body={"label": "a\0b"}, creating=False)
@example(body={"amount": 2**53 + 1}, creating=False)
@example(body={"amount": True}, creating=False)
@example(body={"amount": math.inf}, creating=False)
@example(body={"amount": math.nan}, creating=False)
@example(body={"due": "2026-W01-1"}, creating=False)
@example(body={"parent": "", "owner": ""}, creating=False)
@example(body={"owner": "01A22584-87E3-7000-8639-80871807850E"}, creating=False)
@example(body={"owner": "01a22584-87e3-7000-8639-80871807850e\n"}, creating=False)
@example(body={"at": "2026-01-02", "label": "x", "data": {}}, creating=True)
@example(body={"data": None, "label": "x"}, creating=True)
@example(body={"kind": None, "label": None}, creating=True)
@example(body={"data": None, "at": False, "label": ""}, creating=True)
def test_a_row_is_the_same_both_ways(body: dict[str, Any], creating: bool) -> None:
    def outcome(columns: Columns) -> Any:
        try:
            return list(row_of(ENTITY, columns, body, creating=creating).items())
        except BadRequest as error:
            return error.message

    assert repr(outcome(COLUMNS)) == repr(outcome(SLOW))


# Bodies with the same fields take the short way together.
same_fields = st.sets(fields, min_size=1).flatmap(
    lambda names: st.lists(st.fixed_dictionaries(dict.fromkeys(sorted(names), values)), min_size=1)
)


FITTING = {
    "label": texts, "kind": st.sampled_from(["a", "b"]), "amount": st.floats(-9, 9),
    "done": st.booleans(), "due": st.dates().map(str), "parent": st.sampled_from(["a", "b"]),
    "owner": st.uuids().map(str), "at": st.datetimes().map(str) | moments, "data": values,
    "tags": st.lists(texts, max_size=2), "sizes": st.lists(st.floats(-9, 9), max_size=2),
}  # fmt: skip
"""Values that columns mostly take."""


@st.composite
def fitting_rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that can be created, but for a value here and there."""
    names = draw(st.permutations(sorted(draw(st.sets(fields)) | {"label"})))
    row = st.fixed_dictionaries({name: st.none() | FITTING[name] for name in names[:-1]})
    last = names[-1]
    whole = row.flatmap(lambda values: FITTING[last].map(lambda value: {**values, last: value}))
    return draw(st.lists(whole, min_size=1, max_size=3))


@given(rows=fitting_rows() | same_fields | st.lists(bodies, min_size=1, max_size=3))
@example(rows=[{"label": "a"}, {"label": "a\0b"}])
@example(rows=[{"label": None}, {"label": "a"}])
@example(rows=[{"label": "a", "data": {}}, {"data": {}, "label": "b"}])
@example(rows=[{"label": "a", "amount": 1}, {"label": "b", "amount": "2"}])
@example(rows=[{"at": "2026-01-02T03:04:05Z"}, {"at": "2026-01-02 03:04:05.123456+05:30"}])
@example(rows=[{"at": "2026-01-02T03:04:05"}, {"at": None}])
@example(rows=[{"at": "2026-01-02T03:04:05.1234567Z"}])
@example(rows=[{"at": "0001-01-01T00:00:00+05:00"}])
@example(rows=[{"at": "2026-01-02"}, {"at": ""}])
@example(rows=[{"tags": ["a", "b"]}, {"tags": None}])
@example(rows=[{"tags": ["a\0"]}])
@example(rows=[{"tags": [None]}])
@example(rows=[{"tags": ""}])
@example(rows=[{"sizes": [1, 2.5]}, {"sizes": []}])
@example(rows=[{"sizes": [True]}])
@example(rows=[{"sizes": ["1"]}])
@example(rows=[{"label": "a", "data": ""}])
@example(rows=[{"label": "a", "data": None}])
@example(rows=[{}])
def test_rows_are_the_same_together(rows: list[dict[str, Any]]) -> None:
    def outcome(columns: Columns) -> Any:
        table: Any = SimpleNamespace(columns=columns, shown=ENTITY, hidden=frozenset())
        try:
            return [list(row.items()) for row in new_rows(table, Grant(), rows)]
        except BadRequest as error:
            return error.message

    assert repr(outcome(COLUMNS)) == repr(outcome(SLOW))


def test_frequent_bodies_take_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("it was converted")

    monkeypatch.setattr("plugins.data.values.rows.coerce_field", refuse)
    complete = {
        "label": "x", "kind": "a", "amount": 1.5, "done": None, "due": "2026-01-02",
        "parent": "p", "owner": "01a22584-87e3-7000-8639-80871807850e",
    }  # fmt: skip
    assert row_of(ENTITY, COLUMNS, complete, creating=True) == complete
    turned = {"due": None, "label": "y", "created_at": "2026-01-02", "id": 7}
    row = row_of(ENTITY, COLUMNS, turned, creating=True)
    assert list(row.items()) == [("label", "y"), ("due", None)]
    monkeypatch.setattr("plugins.data.values.rows.row_of", refuse)
    table: Any = SimpleNamespace(columns=COLUMNS, shown=ENTITY, hidden=frozenset())
    assert new_rows(table, Grant(), [turned, turned]) == [row, row]


def test_only_so_many_lists_of_fields_are_remembered() -> None:
    columns = Columns(ENTITY)
    for names in islice(permutations(field.name for field in FIELDS), MAX_KNOWN + 1):
        assert columns.bodies.describe(names) is not None
    assert len(columns.bodies._known) == 1
    assert columns.bodies.describe(("label", "x" * 1000)) is None
    assert len(columns.bodies._known) == 1


def test_ids_of_a_statement_ascend() -> None:
    found = new_ids(5000)
    assert {UUID(each).version for each in found} == {7}
    assert {str(UUID(each)) for each in found} == set(found)
    assert len(set(found)) == 5000
    assert found[:4096] == sorted(found[:4096])


def test_the_values_of_a_field_are_an_array() -> None:
    given: list[Row] = [{"label": "x"}, {"label": "y", "done": True}, {"id": 'm"\\ne'}]
    names, (ids, labels, done) = rows_to_arrays(COLUMNS, given)
    assert names == ("label", "done")
    assert (labels, done) == (b'{"x","y",null}', b"{null,true,null}")
    first, second, third = ids.decode()[1:-1].split(",")
    assert first < second
    assert third == r'"m\"\\ne"'  # as PostgreSQL reads an array


def test_rows_that_name_only_an_id_have_no_fields() -> None:
    assert rows_to_arrays(COLUMNS, [{"id": "a"}, {"id": "b"}]) == ((), [b'{"a","b"}'])
