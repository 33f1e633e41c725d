"""Where-trees: what they refuse, and that PostgreSQL answers as plain Python does."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Final

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import RawCursor

from kernel.database.dialect import AsText, to_text
from kernel.public import BadRequest, Entity, Field
from plugins.data.columns.columns import Columns
from plugins.data.filters.conditions import Conditions

TYPES: Final = {
    "word": ("text", "text"),
    "size": ("number", "double precision"),
    "flag": ("boolean", "boolean"),
    "day": ("date", "date"),
    "at": ("timestamp", "timestamptz"),
    "doc": ("json", "jsonb"),
    "key": ("uuid", "uuid"),
    "tags": ("[text]", "text[]"),
    "sizes": ("[number]", "double precision[]"),
}
ENTITY: Final = Entity(
    app_id="lab",
    name="things",
    id_type="text",
    id_declared=True,
    fields=tuple(
        Field(name=name, type=kind, sql_type=sql)  # type: ignore[arg-type]
        for name, (kind, sql) in TYPES.items()
    ),
)
COLUMNS: Final = Columns(ENTITY)
Row = dict[str, Any]
Answer = bool | None


# What SQL means, in plain Python: None is "unknown".
def _and(answers: Sequence[Answer]) -> Answer:
    return False if False in answers else None if None in answers else True


def _or(answers: Sequence[Answer]) -> Answer:
    return True if True in answers else None if None in answers else False


def _like(value: str, pattern: str, flags: int = 0) -> bool:
    parts = ["." if c == "_" else ".*" if c == "%" else re.escape(c) for c in pattern]
    return re.fullmatch("".join(parts), value, flags | re.DOTALL) is not None


COMPARE: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$eq": lambda a, b: a == b,
    "$ne": lambda a, b: a != b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
    "$like": _like,
    "$ilike": lambda a, b: _like(a, b, re.IGNORECASE),
    "$contains": lambda a, b: all(item in a for item in b),
}


def evaluate(tree: Mapping[str, Any], row: Row) -> Answer:
    return _and([_branch(name, wanted, row) for name, wanted in tree.items()])


def _branch(name: str, wanted: Any, row: Row) -> Answer:
    if name == "$and":
        return _and([evaluate(tree, row) for tree in wanted])
    if name == "$or":
        return _or([evaluate(tree, row) for tree in wanted])
    if name == "$not":
        answer = evaluate(wanted, row)
        return None if answer is None else not answer
    if not isinstance(wanted, dict):
        return _term(row[name], "$eq", wanted)
    return _and([_term(row[name], operator, value) for operator, value in wanted.items()])


def _term(have: Any, operator: str, value: Any) -> Answer:
    if operator == "$isNull":
        return (have is None) is value
    if operator == "$in":
        found = None if have is None and value else have in [v for v in value if v is not None]
        return _or([found, have is None]) if None in value else found
    if operator == "$nin":
        present = [v for v in value if v is not None]
        if not value:
            return True
        missing = None if have is None and present else have not in present
        return _and([missing, have is not None]) if None in value else missing
    if value is None:
        return (have is None) is (operator == "$eq")
    return None if have is None else COMPARE[operator](have, value)


WORDS = st.text("abAB%_", max_size=3)
VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "word": WORDS,
    "size": st.integers(-2, 2) | st.sampled_from([0.5, -0.5]),
    "flag": st.booleans(),
    "day": st.sampled_from(["2024-01-01", "2024-02-29", "0001-01-01"]),
    "at": st.sampled_from(["2024-01-01T00:00:00+00:00", "2024-01-01T00:00:00.000001+00:00"]),
    "doc": st.sampled_from([1, "a", [1], {"a": 1}, "t", {"b": None}]),
    "key": st.sampled_from([f"00000000-0000-0000-0000-00000000000{i}" for i in range(3)]),
    "tags": st.lists(WORDS, max_size=3),
    "sizes": st.lists(st.integers(0, 3), max_size=3),
}
ORDERED = ("word", "size", "day", "at", "key")
SINGLE = (*ORDERED, "flag")


def _maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


@st.composite
def terms(draw: st.DrawFn) -> Row:
    name = draw(st.sampled_from(list(VALUES)))
    values = VALUES[name]
    options: dict[str, st.SearchStrategy[Any]] = {
        "$eq": _maybe(values),
        "$ne": _maybe(values),
        "$isNull": st.booleans(),
    }
    if name in ORDERED:
        options |= dict.fromkeys(("$gt", "$gte", "$lt", "$lte"), values)
    if name in SINGLE:
        options |= dict.fromkeys(("$in", "$nin"), st.lists(_maybe(values), max_size=3))
    if name == "word":
        options |= dict.fromkeys(("$like", "$ilike"), values)
    if name in ("tags", "sizes"):
        options |= {"$contains": values}
    chosen = draw(st.lists(st.sampled_from(sorted(options)), min_size=1, max_size=2, unique=True))
    if draw(st.booleans()) and name != "doc":
        return {name: draw(_maybe(values))}
    return {name: {operator: draw(options[operator]) for operator in chosen}}


TREES = st.recursive(
    terms() | st.just({}),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$or": st.lists(inner, max_size=3)}),
        st.fixed_dictionaries({"$not": inner}),
        st.tuples(inner, inner).map(lambda pair: {**pair[0], **pair[1]}),
    ),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries({name: _maybe(values) for name, values in VALUES.items()})


@pytest.fixture(scope="module")
def connection(postgres: Any) -> Generator[psycopg.Connection[Any]]:
    url = postgres.create()
    options = "-c timezone=UTC -c datestyle=ISO"
    with psycopg.connect(url, autocommit=True, options=options, cursor_factory=RawCursor) as opened:
        opened.adapters.register_dumper(bytes, AsText)
        columns = ", ".join(f"{name} {sql}" for name, (_, sql) in TYPES.items())
        # Letters are compared by their numbers, as Python does it.
        columns = columns.replace("word text", 'word text collate "C"')
        opened.execute(f"create table things (id text, {columns})")  # type: ignore[arg-type]
        yield opened
    postgres.drop(url)


def _matching(connection: psycopg.Connection[Any], rows: Conditions) -> set[int]:
    query = b"select t.id from things as t%b" % rows.where_clause()
    params = [to_text(p) for p in rows.params]
    found = connection.execute(query, params, prepare=False)  # type: ignore[arg-type]
    return {int(row[0]) for row in found}


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(ROWS, min_size=1, max_size=6), trees=st.lists(TREES, min_size=3, max_size=3))
def test_postgresql_answers_as_plain_python_does(
    connection: psycopg.Connection[Any], rows: list[Row], trees: list[Row]
):
    connection.execute("truncate things")
    for index, row in enumerate(rows):
        values = Conditions(COLUMNS)
        places = [values.bind(str(index), b"text")]
        for name, value in ((name, row[name]) for name in TYPES):
            column = COLUMNS.find(name)
            stored = (
                msgspec.json.encode(value) if column.kind == "json" and value is not None else value
            )
            places.append(values.bind(stored, column.cast))
        connection.execute(
            b"insert into things values (%b)" % b", ".join(places),  # type: ignore[arg-type]
            [to_text(p) for p in values.params],
        )
    for tree in trees:
        conditions = Conditions(COLUMNS)
        conditions.require_tree(tree)
        wanted = {index for index, row in enumerate(rows) if evaluate(tree, row) is True}
        assert _matching(connection, conditions) == wanted, conditions.where_clause()


def refusal(tree: Any) -> str:
    with pytest.raises(BadRequest) as error:
        Conditions(COLUMNS).require_tree(tree)
    return error.value.message


def compiled(tree: Any) -> tuple[bytes, list[Any]]:
    conditions = Conditions(COLUMNS)
    conditions.require_tree(tree)
    return conditions.where_clause(), conditions.params


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"colour": 1}, "'colour'"),
        ({"word": {"$regex": "x"}}, "'$regex'"),
        ({"word": {"$GT": "x"}}, "'$GT'"),
        ({"$where": "1"}, "'$where'"),
        ({"$nor": []}, "'$nor'"),
        ({'word" or 1=1 --': 1}, "word"),
        ({"_owner": None}, "'_owner'"),
        ({"word": {}}, "things.word"),
        ({"word": {"x": 1}}, "'x'"),
        ({"word": ["a"]}, "things.word"),
        ({"size": "many"}, "things.size"),
        ({"size": {"$gt": None}}, "$gt"),
        ({"size": {"$gt": ""}}, "$gt"),
        ({"size": {"$like": "1%"}}, "$like"),
        ({"flag": {"$gt": True}}, "$gt"),
        ({"doc": {"$gt": 1}}, "$gt"),
        ({"doc": {"a": 1, "$eq": 2}}, "'a'"),
        ({"tags": {"$in": [["a"]]}}, "$in"),
        ({"tags": "a"}, "things.tags"),
        ({"tags": {"$contains": [1]}}, "things.tags"),
        ({"tags": {"$contains": None}}, "things.tags"),
        ({"word": {"$contains": "a"}}, "$contains"),
        ({"word": {"$in": "a"}}, "$in"),
        ({"word": {"$in": {"a": 1}}}, "$in"),
        ({"word": {"$isNull": "maybe"}}, "$isNull"),
        ({"word": {"$isNull": None}}, "$isNull"),
        ({"key": {"$in": ["x"]}}, "things.key"),
        ({"created_at": "soon"}, "created_at"),
        ({"$and": {}}, "$and"),
        ({"$or": [1]}, "where"),
        ({"$not": []}, "where"),
        ({"$not": None}, "where"),
    ],
)
def test_what_is_wrong_is_named(tree: Any, named: str):
    assert named in refusal(tree)


def test_depth_and_values_have_a_bound():
    deep: dict[str, Any] = {"size": 1}
    for _ in range(15):
        deep = {"$and": [deep]}
    compiled(deep)
    assert "16" in refusal({"$not": deep})
    compiled({"size": {"$in": list(range(1000))}})
    assert "1000" in refusal({"size": {"$in": list(range(1001))}})
    assert "1000" in refusal({"$or": [{"size": 1}] * 1001})
    assert "1000" in refusal({"tags": {"$contains": ["a"] * 1001}})
    assert refusal({"$and": [{}] * 70_000})


def test_values_are_bound_never_written():
    hostile = "'; drop table things; --"
    sql, params = compiled({"word": {"$in": [hostile], "$like": hostile, "$ne": hostile}})
    assert b"drop" not in sql
    assert params == [[hostile], hostile, hostile]


def test_values_are_coerced_as_in_bodies():
    assert compiled({"size": {"$gt": "100"}})[1] == [100]
    assert compiled({"flag": "true"})[1] == [True]
    assert compiled({"size": ""})[0] == b' where (t."size" is null)'
    assert compiled({"word": ""})[1] == [""]


def test_a_json_field_is_compared_with_an_object():
    assert compiled({"doc": {"a": 1}})[1] == [b'{"a":1}']
    assert compiled({"doc": {"$contains": {"a": 1}}})[0] == b' where (t."doc" @> $1::jsonb)'


def test_empty_trees_follow_their_rule():
    assert compiled({})[0] == b" where true"
    assert compiled({"$and": []})[0] == b" where true"
    assert compiled({"$or": []})[0] == b" where false"
    assert compiled({"word": {"$in": []}})[0] == b" where false"
    assert compiled({"word": {"$nin": []}})[0] == b" where true"


@pytest.mark.parametrize("operator", ["$like", "$ilike"])
def test_a_pattern_has_a_bound_and_no_backslash_hangs_at_its_end(operator: str):
    for slashes in range(6):
        for before in ("", "a", "a%"):
            tree = {"word": {operator: before + "\\" * slashes}}
            if slashes % 2:
                assert "single backslash" in refusal(tree)
            else:
                compiled(tree)


@pytest.mark.parametrize("operator", ["$like", "$ilike"])
def test_the_patterns_of_one_field_have_a_bound_together(operator: str):
    """PostgreSQL can compare them again at each character of a text, and nothing interrupts it."""
    for fits in ("%" + "a" * 499, "a" * 500, r"\%" * 250, "_" * 500):
        compiled({"word": {operator: fits}})
    half = {"word": {operator: "%" + "a" * 249}}
    compiled({"$and": [half, half, {"id": {operator: "%" + "a" * 499}}]})
    for tree in (
        {"word": {operator: "%" + "a" * 500}},
        {"word": {operator: "a%" + "_" * 499}},
        {"$and": [half, {"$or": [half, {"$not": {"word": {operator: "b"}}}]}]},
    ):
        assert "patterns have at most 500 characters together" in refusal(tree)


@pytest.mark.parametrize(
    "tree",
    [
        {"$" + "a" * 1_000_000: 1},
        {"b" * 1_000_000: 1},
        {"word": {"$" + "c" * 1_000_000: 1}},
        {"size": "d" * 1_000_000},
    ],
)
def test_a_refusal_repeats_no_more_than_the_begin_of_a_name_or_a_value(tree: Any):
    assert len(refusal(tree)) < 500
