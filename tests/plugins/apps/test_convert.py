"""The full matrix of type changes: what converts, to what, and what is refused."""

from __future__ import annotations

import itertools
import json
from random import Random

import psycopg
import pytest
from psycopg import sql

from plugins.apps.manifest.types import COLUMN_TYPES
from plugins.apps.schema.conversions import CERTAIN, CONVERSIONS, converted, uncertain

from .support import entity, field, fresh_id, install, manifest, refused

TYPES = ["text", "number", "boolean", "date", "timestamp", "json", "uuid", "[text]", "[number]"]
ONE = "f47ac10b-58cc-4372-a567-0e02b2c3d479"

# (from, to): what converts, as (value, result), and what does not.
MATRIX: dict[tuple[str, str], tuple[list[tuple[object, object]], list[object]]] = {
    ("text", "number"): (
        [("0", 0), ("12", 12), ("-1.5", -1.5), ("1.50", 1.5), ("1e3", 1000), ("0.1", 0.1),
         ("9007199254740991", 9007199254740991),
          ("1.7976931348623157e308", 1.7976931348623157e308)],
        ["", " 1", "007", "+1", "1,5", "abc", "NaN", "Infinity", "0x10", "1_000", "1e999", "1e-999",
         "9007199254740993", "0.1234567890123456789", "1" * 500, "--1", ".5", "5.",
         "-", "1.2.3", "1\n"],
    ),
    ("text", "boolean"): ([("true", True), ("False", False)], ["", "1", "yes", "t", "truee"]),
    ("text", "date"): (
        [("2024-02-29", "2024-02-29"), ("1000-12-28", "1000-12-28"), ("0001-01-01", "0001-01-01")],
        ["", "2023-02-29", "01.02.2024", "2024-01-01T00:00:00Z", "today", "infinity", "0000-01-01",
         "2024-00-10", "2024-13-10", "2024-10-00", "2024-04-31", "12024-1-01"],
    ),
    ("text", "timestamp"): (
        [("2024-01-15", "2024-01-15T00:00:00+00:00"),
         ("2024-01-15T10:30:00", "2024-01-15T10:30:00+00:00"),
         ("2024-01-15 10:30:00.25+02:00", "2024-01-15T08:30:00.25+00:00"),
         ("2024-01-15T10:30Z", "2024-01-15T10:30:00+00:00")],
        ["", "now", "infinity", "2024-13-01", "10:30", "2024-01-15T10:30:00.1234567Z",
         "1705312200"],
    ),
    ("text", "json"): (
        [('{"a": [1, null]}', {"a": [1, None]}), ("5", 5), ('"x"', "x"), ("true", True)],
        ["", "hello", "{a: 1}", '{"a": 1, "a": 2}', '[{"b": {"c": 1, "c": 1}}]', "null",
         '"\\u0000"', "[" * 100_000],
    ),
    ("text", "uuid"): (
        [(ONE, ONE), (ONE.upper(), ONE)],
        ["", "x", ONE.replace("-", ""), "{" + ONE + "}", ONE + "0",
         ONE[:-1] + "-", "-" + ONE[1:], ONE[:-1] + "g"],
    ),
    ("text", "[text]"): ([("a", ["a"]), ("", [""]), ("a,b", ["a,b"])], []),
    ("number", "text"): (
        [(0, "0"), (12, "12"), (-1.5, "-1.5"), (1e15, "1000000000000000"), (1e21, "1e+21"),
         (0.00001, "0.00001"), (1e-9, "1e-09"), (9007199254740991, "9007199254740991"),
         (0.1, "0.1")],
        [],
    ),
    ("number", "boolean"): ([(1, True), (0, False)], [2, -1, 0.5]),
    ("number", "json"): ([(1.5, 1.5), (1e300, 1e300), (-3, -3)], []),
    ("number", "[number]"): ([(1.5, [1.5])], []),
    ("boolean", "text"): ([(True, "true"), (False, "false")], []),
    ("boolean", "number"): ([(True, 1), (False, 0)], []),
    ("boolean", "json"): ([(True, True), (False, False)], []),
    ("date", "text"): (
        [("2024-02-29", "2024-02-29")], ["infinity", "12024-01-01", "0044-03-15 BC"],
    ),
    ("date", "timestamp"): ([("2024-02-29", "2024-02-29T00:00:00+00:00")], ["infinity"]),
    ("date", "json"): ([("2024-02-29", "2024-02-29")], ["infinity"]),
    ("timestamp", "text"): (
        [("2024-01-15T10:30:00+02:00", "2024-01-15T08:30:00Z"),
         ("2024-01-15T10:30:00.000123Z", "2024-01-15T10:30:00.000123Z")],
        ["infinity", "12024-01-01"],
    ),
    ("timestamp", "date"): (
        [("2024-01-15T00:00:00Z", "2024-01-15"), ("2024-01-15T02:00:00+02:00", "2024-01-15")],
        ["2024-01-15T10:30:00Z", "2024-01-15T00:00:00.000001Z"],
    ),
    ("timestamp", "json"): ([("2024-01-15T10:30:00Z", "2024-01-15T10:30:00Z")], ["-infinity"]),
    ("json", "text"): (
        [('{"a": 1}', '{"a": 1}'), ('"x"', '"x"'), ("5", "5"), ("null", None)], [],
    ),
    ("json", "number"): (
        [("5", 5), ("1.50", 1.5), ("null", None)],
        ['"5"', "true", "[]", "{}", "9007199254740993", "1e400"],
    ),
    ("json", "boolean"): ([("true", True), ("null", None)], ['"true"', "1", "[]"]),
    ("json", "date"): ([('"2024-02-29"', "2024-02-29")], ['"x"', "5", '["2024-02-29"]']),
    ("json", "timestamp"): (
        [('"2024-01-15T10:30:00Z"', "2024-01-15T10:30:00+00:00")], ["1705312200"],
    ),
    ("json", "uuid"): ([(f'"{ONE}"', ONE)], ['"x"', "5"]),
    ("json", "[text]"): (
        [('["b", "a", null]', ["b", "a", None]), ("[]", []), ("null", None)],
        ['"a"', "[1]", '[["a"]]', "{}"],
    ),
    ("json", "[number]"): (
        [("[2, 1.5, null]", [2, 1.5, None]), ("[]", [])],
        ['["1"]', "1", "[[1]]", "[9007199254740993]"],
    ),
    ("uuid", "text"): ([(ONE, ONE)], []),
    ("uuid", "json"): ([(ONE, ONE)], []),
    ("[text]", "text"): ([(["a"], "a"), ([""], "")], [[], ["a", "b"], [None], [["a"], ["b"]]]),
    ("[text]", "[number]"): (
        [(["1", "2.5", None], [1, 2.5, None]), ([], [])], [["a"], ["1", ""], [["1"], ["2"]]],
    ),
    ("[text]", "json"): (
        [(["a", None], ["a", None]), ([], []), ([["a"], ["b"]], [["a"], ["b"]])], [],
    ),
    ("[number]", "number"): ([([5], 5)], [[], [1, 2], [None]]),
    ("[number]", "[text]"): ([([1.0, 2.5, None], ["1", "2.5", None]), ([], [])], [[[1], [2]]]),
    ("[number]", "json"): ([([1, None], [1, None])], []),
}  # fmt: skip
SAMPLES: dict[str, object] = {
    "text": "x", "number": 5, "boolean": True, "date": "2024-01-01", "timestamp": "2024-01-01",
    "json": '{"a": 1}', "uuid": ONE, "[text]": ["a", "b"], "[number]": [1, 2],
}  # fmt: skip


def test_the_matrix_of_the_tests_is_that_of_the_code():
    assert {(COLUMN_TYPES[a], COLUMN_TYPES[b]) for a, b in MATRIX} == set(CONVERSIONS)


def _fill(server, app, values):
    for value in [None, *values]:
        server.sql(f"insert into {app}.a (x) values (%s)", value)


def _state(server, app):
    return server.sql(f"select x::text from {app}.a order by created_at, id")


def _plain(value):
    """jsonb writes 1e300 with all its digits."""
    return float(value) if type(value) is int else value


@pytest.mark.parametrize("pair", sorted(MATRIX), ids=" to ".join)
def test_what_converts_keeps_its_value_and_the_rest_is_refused(server, pair):
    (source, target), (good, bad) = pair, MATRIX[pair]
    app = fresh_id()
    install(server.admin, manifest(app, entity("a", field("x", source))))
    wanted = manifest(app, entity("a", field("x", target)))
    for value in bad:
        server.sql(f"truncate {app}.a")
        _fill(server, app, [value])
        before = _state(server, app)
        said = refused(server.admin, wanted)
        assert said.startswith("a.x: 1 value does not convert from "), (value, said)
        assert len(said) < 200
        assert _state(server, app) == before
    server.sql(f"truncate {app}.a")
    _fill(server, app, [value for value, _ in good])
    install(server.admin, wanted)
    rows = server.sql(f"select to_jsonb(x) from {app}.a order by created_at, id")
    assert [_plain(row) for (row,) in rows] == [None, *(_plain(result) for _, result in good)]


@pytest.mark.parametrize(
    "pair", [p for p in itertools.permutations(TYPES, 2) if p not in MATRIX], ids=" to ".join
)
def test_other_changes_are_refused_unless_the_column_is_empty(server, pair):
    source, target = pair
    app = fresh_id()
    wanted = manifest(app, entity("a", field("x", target)))
    install(server.admin, manifest(app, entity("a", field("x", source))))
    _fill(server, app, [SAMPLES[source]])
    assert "1 value does not convert" in refused(server.admin, wanted)
    server.sql(f"update {app}.a set x = null")
    install(server.admin, wanted)


def test_a_refusal_counts_and_shows_up_to_three_different_values(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("a", field("x"))))
    _fill(server, app, ["12", "a", "a", 'b"', "c" * 500, "d"])
    said = refused(server.admin, manifest(app, entity("a", field("x", "number"))))
    start, samples = said.split(" (")
    assert start == "a.x: 5 values do not convert from text to number"
    shown = json.loads(f"[{samples[:-1]}]")
    assert len(set(shown)) == 3
    assert all(len(text) <= 60 for text in shown)


@pytest.mark.parametrize(
    ("there", "values"),
    [
        (
            "text",
            [0, 12.5, -1e-9, 1e20, 1e21, 1e300, 5e-324, 0.1 + 0.2, 2**53, 1 / 3, 123456789.125],
        ),
        ("json", [0, 12.5, -1e-9, 1e20, 1e21, 1e300, 5e-324, 0.1 + 0.2, 2**53, 1 / 3]),
        ("[number]", [0, 12.5]),
    ],
)
def test_numbers_come_back_as_they_were(server, there, values):
    app = fresh_id()
    number = manifest(app, entity("a", field("x", "number")))
    install(server.admin, number)
    _fill(server, app, values)
    before = _state(server, app)
    install(server.admin, manifest(app, entity("a", field("x", there))))
    install(server.admin, number)
    assert _state(server, app) == before


def test_rules_on_a_column_move_with_its_type(server):
    app = fresh_id()

    def typed(kind, **more):
        return manifest(
            app,
            entity("a", field("x", kind, required=True, **more),
                   indexes=[{"columns": ["x"], "unique": True}]),
        )  # fmt: skip

    install(server.admin, typed("text", default_value="5", enum_values=["5", "6"]))
    server.sql(f"insert into {app}.a default values")
    install(server.admin, typed("number", default_value=7))
    server.sql(f"insert into {app}.a default values")
    assert server.sql(f"select x from {app}.a order by x") == [(5.0,), (7.0,)]
    install(server.admin, typed("json", default_value={"a": 1}))
    install(server.admin, typed("text"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        server.sql(f"insert into {app}.a (x) values ('5')")


def test_values_that_become_the_same_break_a_unique_index(server):
    app = fresh_id()
    unique = [{"columns": ["x"], "unique": True}]
    install(server.admin, manifest(app, entity("a", field("x"), indexes=unique)))
    server.sql(f"insert into {app}.a (x) values ('1'), ('1.0')")
    wanted = manifest(app, entity("a", field("x", "number"), indexes=unique))
    assert "shared by several rows" in refused(server.admin, wanted)
    assert server.sql(f"select x from {app}.a order by x") == [("1",), ("1.0",)]


def test_conversions_do_not_depend_on_the_settings_of_a_session(server):
    app = fresh_id()
    install(server.admin, manifest(app, entity("a", field("x", "timestamp"))))
    _fill(server, app, ["2024-01-15T00:00:00Z"])
    with psycopg.connect(server.dsn) as connection:
        connection.execute("set timezone = 'Asia/Tokyo'")
        connection.execute("set datestyle = 'German'")
        connection.execute("set extra_float_digits = 0")
        found = connection.execute(
            sql.SQL(
                "select caudex_apps.timestamp_to_date(x), caudex_apps.timestamp_to_text(x),"
                " caudex_apps.text_to_timestamp('2024-01-15 10:00')"
                " = '2024-01-15T10:00:00Z'::timestamptz,"
                " caudex_apps.number_to_text(0.1::float8 + 0.2::float8),"
                " caudex_apps.date_to_text('2024-02-29'::date) from {}.a where x is not null"
            ).format(sql.Identifier(app))
        ).fetchone()
    assert found is not None
    day, text, same, number, date = found
    assert (day.isoformat(), text) == ("2024-01-15", "2024-01-15T00:00:00Z")
    assert (same, number, date) == (True, "0.30000000000000004", "2024-02-29")


@pytest.mark.parametrize("pair", CERTAIN, ids=lambda pair: " to ".join(pair))
def test_what_converts_for_certain_does_convert(server, pair):
    """Random texts near the forms: none that is said to convert becomes null."""
    chance = Random(7)
    numbers = ["-0", "0.10", "123456789012345", "-9999999999.99", "0.0000000000001"]
    days = ["2024-02-28", "0999-12-01", "10000-01-01"]
    models = [*numbers, *days, "true", "FALSE", ONE, ONE.upper(), "a, {b}", "", " "]
    texts = set(models)
    for _ in range(20_000):
        letters = list(chance.choice(models))
        for _ in range(chance.randint(0, 3)):
            place = chance.randint(0, len(letters))
            letters[place : place + chance.randint(0, 1)] = chance.choice([*"0129-.:eEaf \n", ""])
        texts.add("".join(letters))
    source, target = pair
    query = sql.SQL(
        "select x, not {uncertain}, {converted} is null from unnest(%s::text[]) as _v(x)"
    ).format(uncertain=uncertain("x", source, target), converted=converted("x", source, target))
    with psycopg.connect(server.dsn) as connection:
        rows = connection.execute(query, [list(texts)]).fetchall()
    assert any(is_certain for _, is_certain, _ in rows)
    assert [text for text, is_certain, is_lost in rows if is_certain and is_lost] == []
